# SPDX-License-Identifier: MIT
"""Pipelines: folders and files of several networks, from quantize to a picture of a prompt; what info says of them."""
import json
import pathlib
import shutil
import subprocess
import sys

MAKE = str(pathlib.Path(sys.argv.pop(2)).resolve())

from harness import ROOT, TINY, Case, read_npy, read_png, run  # noqa: E402

SD = 1 | 16 | 32  # text_encoder, unet, vae: see pipeline_folder.h
DRAW = ['--prompt', 'a photo of a (red:1.3) lighthouse', '--steps', '3', '--seed', '7']


class Pipelines(Case):
    def make(self, name, parts):
        (self.folder / name).mkdir()
        subprocess.run([MAKE, self.path(name), str(parts)], cwd=ROOT, check=True)
        return name

    def quantize(self, *arguments):
        self.make('sd', SD)
        self.dqgen('quantize', 'sd', '-o', 'sd.dqg', *arguments)

    def test_from_prompt_to_picture(self):
        self.quantize()
        done = self.dqgen('generate', 'sd.dqg', '-o', 'a.png', *DRAW, '--size', '24x32')
        self.assertRegex(done.stdout, r'^a\.png: 1 picture of 24x32, 3 steps, guidance 7\.5, ')
        self.assertEqual(done.stderr, '')
        picture = read_png(self.path('a.png'))
        self.assertEqual(picture[:3], (24, 32, 3))
        self.assertGreater(len(set(b''.join(picture[3]))), 20)
        for other in [['--resident'], ['--threads', '1'], ['--preview', 'p.png']]:
            self.dqgen('generate', 'sd.dqg', '-o', 'b.png', *DRAW, '--size', '24x32', *other)
            self.assertEqual(read_png(self.path('b.png')), picture, other)
        self.assertEqual(read_png(self.path('p.png'))[:3], (24, 32, 3))
        for other in [['--negative', 'ugly'], ['--clip-skip', '1'], ['--guidance', '2'], ['--seed', '8']]:
            self.dqgen('generate', 'sd.dqg', '-o', 'b.png', *DRAW, '--size', '24x32', *other)
            self.assertNotEqual(read_png(self.path('b.png')), picture, other)
        self.dqgen('generate', 'sd.dqg', '-o', 'b.png', *DRAW, '--size', '24x32', '--tile', '8')
        tiled = read_png(self.path('b.png'))
        worst = max(abs(x - y) for a, b in zip(picture[3], tiled[3]) for x, y in zip(a, b))
        self.assertLessEqual(worst, 2)

    def test_several_pictures_and_numbers(self):
        self.quantize()
        self.dqgen('generate', 'sd.dqg', '-o', 'a.png', '--raw', 'a.npy', '--count', 2, *DRAW)
        self.assertEqual(read_npy(self.path('a.npy'))[0], (2, 4, 16, 16))
        sheet = read_png(self.path('a.png'))
        self.assertEqual(sheet[:2], (65, 32))
        self.dqgen('generate', 'sd.dqg', '-o', 'b.png', *DRAW, '--seed', '8')
        second = [row[33 * 3:65 * 3] for row in sheet[3]]
        self.assertEqual(second, read_png(self.path('b.png'))[3])

    def test_negative_alone(self):
        self.quantize()
        alone = ['--steps', '3', '--seed', '7', '--negative', 'ugly']
        done = self.dqgen('generate', 'sd.dqg', '--raw', 'a.npy', *alone)
        self.assertIn(', guidance 7.5, ', done.stdout)
        first = read_npy(self.path('a.npy'))[1]
        self.dqgen('generate', 'sd.dqg', '--raw', 'a.npy', *alone, '--guidance', '7.5')
        self.assertEqual(read_npy(self.path('a.npy'))[1], first)
        for other in [['--guidance', '1'], ['--negative', 'pretty'], ['--prompt', 'a boat']]:
            self.dqgen('generate', 'sd.dqg', '--raw', 'a.npy', *alone, *other)
            self.assertNotEqual(read_npy(self.path('a.npy'))[1], first, other)
        self.refused('generate', TINY, '--raw', 'a.npy', *alone, code=1, says='takes no prompt')

    def test_float_folder(self):
        self.make('sd', SD)
        self.dqgen('generate', 'sd', '-o', 'a.png', *DRAW)
        self.assertEqual(read_png(self.path('a.png'))[:3], (32, 32, 3))

    def test_info(self):
        self.quantize()
        text = self.dqgen('info', 'sd.dqg').stdout
        for line in ['denoiser    unet', 'clip        clip, ', 'with its tokenizer', 'vae         vae, ',
                     'context     clip\n', "drawn       by 'dqgen generate --prompt'"]:
            self.assertIn(line, text)
        told = json.loads(self.dqgen('info', 'sd.dqg', '--json').stdout)
        self.assertEqual([n['role'] for n in told['networks']], ['denoiser', 'clip', 'vae'])
        self.assertEqual(told['metadata']['pipeline.context'], 'clip')
        self.assertIsNone(told['lacks_for_prompts'])
        self.assertFalse([key for key in told['metadata'] if key.endswith(('vocab.json', 'merges.txt'))])

    def test_what_is_lacking(self):
        self.make('sd', SD)
        shutil.rmtree(self.folder / 'sd/tokenizer')
        self.assertIn('without a tokenizer', self.dqgen('info', 'sd').stdout)
        self.refused('generate', 'sd', '-o', 'a.png', *DRAW, code=1, says='--tokenizer')
        text = ROOT / 'tests/golden/text'
        for path in [text / 'small_tokenizer.json', f'clip={text / "small_tokenizer.json"}']:
            self.dqgen('quantize', 'sd', '-o', 'sd.dqg', '--tokenizer', path)
            self.dqgen('generate', 'sd.dqg', '-o', 'a.png', *DRAW)
        self.refused('quantize', 'sd', '-o', 'x.dqg', '--tokenizer', text / 't5.model', code=1, says='T5')
        self.refused('quantize', 'sd', '-o', 'x.dqg', '--tokenizer', f'clip_2={text / "small_tokenizer.json"}',
                     code=1, says='clip_2')
        self.refused('quantize', 'sd', '-o', 'x.dqg', '--tokenizer', 'none.json', code=1, says='none.json')
        self.assertFalse((self.folder / 'x.dqg').exists())
        shutil.rmtree(self.folder / 'sd/vae')
        self.dqgen('quantize', 'sd', '-o', 'sd.dqg', '--tokenizer', text / 'small_tokenizer.json')
        self.assertIn('no autoencoder', self.dqgen('info', 'sd.dqg').stdout)
        self.refused('generate', 'sd.dqg', '-o', 'a.png', *DRAW, code=1, says='--raw')
        self.dqgen('generate', 'sd.dqg', '--raw', 'a.npy', *DRAW)
        shutil.rmtree(self.folder / 'sd/text_encoder')
        self.refused('generate', 'sd', '--raw', 'a.npy', *DRAW, code=1, says='context of 64 columns')

    def test_prompts_for_others(self):
        self.refused('generate', TINY, '-o', 'a.png', *DRAW, code=1, says='takes no prompt')
        self.quantize()
        self.refused('generate', 'sd.dqg', '-o', 'a.png', *DRAW, '--size', '25x32', says='multiples of 2')
        self.refused('generate', 'sd.dqg', '-o', 'a.png', *DRAW, '--size', 'big', says='WIDTHxHEIGHT')
        self.refused('generate', 'sd.dqg', '-o', 'a.png', '--prompt', '(' * 70 + 'x', '--steps', '1', code=1, says='64')

    def test_wiring_of_the_user(self):
        self.quantize('--meta', 'pipeline.context=clip skip 1 no-norm')
        self.dqgen('generate', 'sd.dqg', '-o', 'a.png', *DRAW)
        self.quantize_again('clip skip 9')
        self.refused('generate', 'sd.dqg', '-o', 'a.png', *DRAW, code=1, says='pipeline.context')

    def quantize_again(self, wiring):
        self.dqgen('quantize', 'sd', '-o', 'sd.dqg', '--meta', f'pipeline.context={wiring}')



class Compare(Case):
    """Networks that take more than classes: the same inputs for both, others for each seed."""

    def make(self, parts):
        (self.folder / 'sd').mkdir()
        subprocess.run([MAKE, self.path('sd'), str(parts)], cwd=ROOT, check=True)
        self.dqgen('quantize', 'sd', '-o', 'sd.dqg', '-q')

    def compare(self, first, second, *arguments):
        done = self.dqgen('compare', first, second, '--steps', 2, '--seeds', 2, '--json', *arguments)
        self.assertEqual(done.stderr, '')
        told = json.loads(done.stdout)
        return [e['relative_error'] for e in told['evaluations'] + told['trajectory']], told

    def check(self, model, *arguments):
        """Nothing between a model and itself, something between it and its 4-bit form. Returns what is told of that."""
        self.assertEqual(set(self.compare(model, model, *arguments)[0]), {0})
        if model != 'sd':
            self.dqgen('quantize', model, '-o', 'sd.dqg', '-q')
        errors, told = self.compare(model, 'sd.dqg', *arguments)
        for error in errors:
            self.assertTrue(0 < error < 0.5, errors)
        self.assertNotEqual(told['pictures'][0]['psnr_db'], told['pictures'][1]['psnr_db'])
        return told

    def test_pipeline(self):
        self.make(SD)
        told = self.check('sd')
        self.assertEqual(told['guidance'], 1)
        self.assertEqual(self.check('sd', '--guidance', 2)['guidance'], 2)
        short = self.check('sd', '--context-tokens', 5)
        self.assertNotEqual(short['trajectory'], told['trajectory'])  # contexts of zeros would be alike
        text = self.dqgen('compare', 'sd', 'sd.dqg', '--steps', 2, '--seeds', 2).stdout
        self.assertIn('finished latents, PSNR for a range of 2: mean', text)

    def test_prompt(self):
        self.make(SD)
        boat = self.check('sd', '--prompt', 'a boat')
        self.assertEqual(boat['guidance'], 7.5)
        self.assertNotEqual(self.check('sd', '--prompt', 'a boat', '--clip-skip', 1), boat)
        away = self.check('sd', '--prompt', 'a boat', '--negative-prompt', 'ugly')
        self.assertNotEqual(away['trajectory'], boat['trajectory'])
        self.refused('compare', 'sd', 'sd/unet', '--prompt', 'a boat', code=1, says="encode the prompt with 'sd/unet'")
        self.assertEqual(set(self.compare('sd', 'sd/unet')[0]), {0})

    def test_picture_to_follow(self):
        self.make(SD | 64)
        names = [o['name'] for o in self.check('sd', '--guidance', 2)['evaluations'][0]['operators']]
        self.assertTrue([name for name in names if 'hint' in name], names)

    def test_other_inputs(self):
        """A pooled row and guidance; extra channels; sizes and a mask."""
        for model in ['flux/dev', 'flux/control', 'pixart/alpha_sizes_own']:
            with self.subTest(model):
                self.check(f'{ROOT}/tests/golden/{model}.safetensors')

    def test_no_denoisers(self):
        self.make(SD)
        self.refused('compare', 'sd/vae', 'sd/vae', code=1, says='denoisers alone')
        self.refused('compare', 'sd', 'sd/text_encoder', code=1, says="'sd/text_encoder' holds no denoiser but a clip")
        self.refused('compare', 'sd', TINY, code=1, says='not the same network')


if __name__ == '__main__':
    run()
