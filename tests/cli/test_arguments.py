# SPDX-License-Identifier: MIT
"""Arguments of dqgen: help for everything, exit codes, and plain words for what is wrong."""
import re
import subprocess

from harness import COMMANDS, DQGEN, Case, TINY, run


class Help(Case):
    def test_program(self):
        done = self.dqgen('--help')
        for command in COMMANDS:
            self.assertIn(f'  {command} ', done.stdout)
        self.assertEqual(self.dqgen('help').stdout, done.stdout)
        self.assertEqual(self.dqgen(code=2).stderr, done.stdout)

    def test_every_command(self):
        for command in COMMANDS:
            text = self.dqgen(command, '--help').stdout
            self.assertTrue(text.startswith(f'usage: dqgen {command} '), text)
            self.assertIn('exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted', text)
            for option in ['--threads', '--backend', '--quiet', '--help']:
                self.assertEqual(text.count(f'{option}'), text.count(f'{option} '), option)
                self.assertIn(option, text)
            self.assertEqual(self.dqgen('help', command).stdout, text)
            self.assertEqual(self.dqgen(command, '-h').stdout, text)

    def test_every_option_is_listed_once_and_explained(self):
        for command in COMMANDS:
            names = []
            for line in self.dqgen(command, '--help').stdout.splitlines():
                row = re.match(r'  (?:-\w, )?--([\w-]+)(?: \S+)?  +(.*)', line)
                if row:
                    names.append(row.group(1))
                    self.assertGreater(len(row.group(2)), 8, line)
            self.assertEqual(len(names), len(set(names)), names)

    def test_library_options_are_there(self):
        text = self.dqgen('generate', '--help').stdout
        for option in ['--guidance', '--steps', '--solver', '--shift', '--eta', '--seed', '--height']:
            self.assertIn(f'  {option} ', text)
        text = self.dqgen('quantize', '--help').stdout
        for option in ['--bits', '--group', '--zero-point', '--search', '--level']:
            self.assertIn(f'  {option} ', text)

    def test_version(self):
        self.assertRegex(self.dqgen('--version').stdout,
                         r'^dqgen \d+\.\d+\.\d+ \(libdqgen \d+\.\d+\.\d+; kernels:.* scalar')


class Refused(Case):
    def test_commands(self):
        self.assertIn("did you mean 'generate'?", self.refused('genrate', says="no command 'genrate'"))
        self.refused('zzz', says='dqgen --help')
        self.refused('help', 'zzz', says="no command 'zzz'")

    def test_options(self):
        self.assertIn("did you mean '--guidance'?", self.refused('generate', TINY, '--guidence', 3))
        self.assertIn("did you mean '--steps'?", self.refused('generate', TINY, '--step=3'))
        self.refused('generate', TINY, '--zzzzzz', says="Try 'dqgen generate --help'")
        self.refused('generate', TINY, '-x', says='-x')
        self.refused('generate', TINY, '--=3', says='not an option')
        self.refused('info', TINY, '--json=1', says='--json takes no value')

    def test_values(self):
        out = ['generate', TINY, '-o', 'a.png']
        for arguments, text in [
                (['--count', '0'], '--count must be 1 to'), (['--count', '-3'], '--count must be 1 to'),
                (['--count', 'many'], '--count takes a whole number'), (['--count', '2.5'], 'whole number'),
                (['--count'], '--count needs a value'), (['--count='], '--count needs a value'),
                (['--count', '--steps'], '--count needs a value'), (['--steps', '0'], '--steps'),
                (['--steps', '-4'], '--steps'), (['--steps', 'ten'], '--steps'), (['--guidance', 'x'], '--guidance'),
                (['--guidance', 'nan'], '--guidance'), (['--scale', '0'], '--scale must be 1 to'),
                (['--threads', '-1'], '--threads must be 0 to 256'), (['--threads', '257'], '--threads'),
                (['--count', '99999999999999999999'], '--count'), (['--solver', 'magic'], '--solver'),
                (['--scheduler', 'eulr'], "did you mean 'euler'?"), (['--scheduler', 'q'], 'dqgen schedulers'),
                (['--seeds', '1,x'], '--seeds takes whole numbers'), (['--backend', 'gpu'], 'gpu'),
                (['--seeds', '1', '--count', '2'], 'leave --count out'), (['--class', 'class1,,class2'], '--class'),
                (['--height', '7'], '7')]:
            self.refused(*out, *arguments, says=text)
        self.assertFalse((self.folder / 'a.png').exists())

    def test_operands(self):
        for command in COMMANDS:
            if command != 'schedulers':  # which lists without any
                self.refused(command, says=f'usage: dqgen {command} ')
        self.refused('info', TINY, TINY, says='one argument too many')
        self.refused('compare', TINY, says='usage: dqgen compare FLOAT QUANTIZED')
        self.refused('generate', TINY, says='-o FILE.png')
        self.refused('quantize', TINY, says='-o FILE.dqg')

    def test_classes(self):
        text = self.refused('generate', TINY, '-o', 'a.png', '--class', 'clas3', says="no class 'clas3'")
        self.assertIn("'class3'", text)
        self.assertIn('classes: class0, class1, class2, class3, class4', text)
        self.refused('generate', TINY, '-o', 'a.png', '--class', '5', says='from 0 to 4')
        self.refused('generate', TINY, '-o', 'a.png', '--class', 'class1,dragon', says="no class 'dragon'")

    def test_rules(self):
        for rule in ['x', '=int8', 'x=', 'x=int7', 'x=int4:33']:
            self.refused('quantize', TINY, '-o', 'a.dqg', '--rule', rule, says='--rule')
        self.refused('quantize', TINY, '-o', 'a.dqg', '--meta', 'novalue', says='--meta')
        self.refused('quantize', TINY, '-o', 'a.dqg', '--bits', '7', says='--bits')
        self.assertFalse((self.folder / 'a.dqg').exists())


class Failed(Case):
    def test_missing_file(self):
        for command in [['info', 'no.dqg'], ['verify', 'no.dqg'], ['bench', 'no.dqg'], ['compare', 'no.dqg', 'no.dqg'],
                        ['generate', 'no.dqg', '-o', 'a.png'], ['quantize', 'no.dqg', '-o', 'a.dqg']]:
            self.refused(*command, code=1, says="'no.dqg'")

    def test_junk_file(self):
        (self.folder / 'junk.dqg').write_bytes(b'this is not a model' * 50)
        self.refused('info', 'junk.dqg', code=1, says="cannot load 'junk.dqg': ")
        self.refused('verify', 'junk.dqg', code=1, says="'junk.dqg' is not good: ")
        self.refused('quantize', 'junk.dqg', '-o', 'a.dqg', code=1, says="cannot quantize 'junk.dqg': ")

    def test_output_that_cannot_be_written(self):
        self.refused('generate', TINY, '-o', 'no/such/a.png', code=1, says="cannot write 'no/such/a.png'")
        self.refused('generate', TINY, '-o', '.', code=1, says='it is a folder')
        self.refused('generate', TINY, '--raw', 'no/a.npy', code=1, says="cannot write 'no/a.npy'")
        self.refused('quantize', TINY, '-o', 'no/a.dqg', code=1, says="cannot write 'no/a.dqg'")

    def test_standard_output_full(self):
        with open('/dev/full', 'w', encoding='utf-8') as full:
            done = subprocess.run([DQGEN, '--help'], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('cannot write to standard output', done.stderr)


run()
