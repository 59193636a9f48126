/* SPDX-License-Identifier: MIT */
/*
 * Names of U-Nets and control networks in checkpoints of diffusers, which counts ResBlocks and transformers by level,
 * as names of the authors, who number blocks through. How many blocks the levels before have is seen from the names of
 * other tensors.
 */
#include "model/unet_parts.h"

/* A row: what a name begins with in diffusers, and in the authors' code. */
static const char *const ends[][2] = {
    {"conv_in.", "input_blocks.0.0."},
    {"conv_norm_out.", "out.0."},
    {"conv_out.", "out.2."},
    {"time_embedding.linear_1.", "time_embed.0."},
    {"time_embedding.linear_2.", "time_embed.2."},
    {"time_embedding.cond_proj.", "time_embed.cond_proj."},
    {"add_embedding.linear_1.", "label_emb.0.0."},
    {"add_embedding.linear_2.", "label_emb.0.2."},
    {"class_embedding.linear_1.", "label_emb.0.0."},
    {"class_embedding.linear_2.", "label_emb.0.2."},
    {"class_embedding.", "label_emb."},
    {"encoder_hid_proj.", "encoder_hid_proj."},
    {"input_blocks.", "input_blocks."},
    {"middle_block.", "middle_block."},
    {"output_blocks.", "output_blocks."},
    {"time_embed.", "time_embed."},
    {"label_emb.", "label_emb."},
    {"out.", "out."},
};

static const char *const residual[][2] = {
    {"norm1.", "in_layers.0."},  {"conv1.", "in_layers.2."},  {"time_emb_proj.", "emb_layers.1."},
    {"norm2.", "out_layers.0."}, {"conv2.", "out_layers.3."}, {"conv_shortcut.", "skip_connection."},
};

/* The rest of name behind the beginning that a row has, put behind prefix and the row's other name. */
static bool replace(const char *const (*rows)[2], size_t count, const char *prefix, const char *name,
                    struct dqg_rename *to) {
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(rows[i][0]);
        if (strncmp(name, rows[i][0], length) == 0) {
            return dqg_format(to->name, sizeof to->name, "%s%s%s", prefix, rows[i][1], name + length) < sizeof to->name;
        }
    }
    return false;
}

/* Takes a number and a point from the front of a text. */
static bool take_number(const char **text, size_t *number) {
    const char *at = *text;
    for (*number = 0; *at >= '0' && *at <= '9' && *number < 1000; at++) {
        *number = 10 * *number + (size_t)(*at - '0');
    }
    bool taken = at > *text && *at == '.';
    *text = at + 1;
    return taken;
}

static bool take(const char **text, const char *word) {
    size_t length = strlen(word);
    bool taken = strncmp(*text, word, length) == 0;
    *text += taken ? length : 0;
    return taken;
}

/* Where the other names are: of a checkpoint, or of a loaded model. */
struct names {
    const struct dqg_source *source;
    const char *prefix;
    const struct dqg_model *model; /* NULL: a checkpoint */
};

static bool has_attention(const struct names *names, const char *list, size_t level) {
    char name[256];
    dqg_format(name, sizeof name, "%s%s.%zu.attentions.0.norm.weight", names->prefix, list, level);
    return dqg_source_find(names->source, name) >= 0;
}

/* ResBlocks of a level. */
static size_t count_blocks(const struct names *names, const char *list, size_t level) {
    char name[256];
    for (size_t i = 0;; i++) {
        dqg_format(name, sizeof name, "%s%s.%zu.resnets.%zu.norm1.weight", names->prefix, list, level, i);
        if (dqg_source_find(names->source, name) < 0) {
            return i;
        }
    }
}

static bool has_part(const struct dqg_model *model, const char *list, size_t block, const char *part) {
    char name[64];
    dqg_format(name, sizeof name, "%s.%zu.%s.weight", list, block, part);
    return dqg_model_find(model, name) != NULL;
}

/* The authors' number of a level's first block, and its ResBlocks; in a loaded model, where levels end with a change of
 * size. */
static size_t find_loaded(const struct dqg_model *model, bool down, size_t level, size_t *count) {
    const char *list = down ? "input_blocks" : "output_blocks";
    size_t first = down ? 1 : 0;
    for (size_t i = 0;; i++) {
        bool ended = false;
        for (*count = 0; !ended && has_part(model, list, first + *count, "0.in_layers.0"); ++*count) {
            ended = !down && (has_part(model, list, first + *count, "1.conv") ||
                              has_part(model, list, first + *count, "2.conv"));
        }
        if (i == level || *count == 0) {
            return first;
        }
        first += *count + down;
    }
}

/* The same, wherever the names are: a level of input blocks ends with a block of its own, and one is before them all. */
static size_t find_level(const struct names *names, bool down, size_t level, size_t *count) {
    const char *list = down ? "down_blocks" : "up_blocks";
    size_t first = down ? 1 : 0;
    if (names->model != NULL) {
        return find_loaded(names->model, down, level, count);
    }
    for (size_t i = 0; i < level && i < DQG_UNET_LEVELS; i++) {
        first += count_blocks(names, list, i) + down;
    }
    *count = count_blocks(names, list, level);
    return first;
}

/* Does a transformer stand between a level's last ResBlock and its change of size? block: the authors' number. */
static bool has_transformer(const struct names *names, size_t level, size_t block) {
    return names->model != NULL ? has_part(names->model, "output_blocks", block, "2.conv")
                                : has_attention(names, "up_blocks", level);
}

/* What stands in a level, behind its number: block 0 of the level is number first. */
static bool rename_level(const struct names *names, bool down, size_t level, const char *rest, struct dqg_rename *to) {
    const char *own = down ? "input_blocks" : "output_blocks";
    size_t index, count, first = find_level(names, down, level, &count);
    char prefix[64];
    if (take(&rest, "resnets.") && take_number(&rest, &index)) {
        dqg_format(prefix, sizeof prefix, "%s.%zu.0.", own, first + index);
        return replace(residual, DQG_COUNT_OF(residual), prefix, rest, to);
    }
    if (take(&rest, "attentions.") && take_number(&rest, &index)) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.1.%s", own, first + index, rest) < sizeof to->name;
    }
    if (down && take(&rest, "downsamplers.0.conv.")) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.0.op.%s", own, first + count, rest) < sizeof to->name;
    }
    if (!down && take(&rest, "upsamplers.0.conv.") && count > 0) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.%d.conv.%s", own, first + count - 1,
                          has_transformer(names, level, first + count - 1) ? 2 : 1, rest) < sizeof to->name;
    }
    return false;
}

/* ResBlock, transformer, ResBlock; or the ResBlocks alone. */
static bool rename_middle(const struct names *names, const char *rest, struct dqg_rename *to) {
    char prefix[64];
    size_t index;
    bool attends = names->model != NULL && has_part(names->model, "middle_block", 1, "norm");
    if (names->model == NULL) {
        dqg_format(prefix, sizeof prefix, "%smid_block.attentions.0.norm.weight", names->prefix);
        attends = dqg_source_find(names->source, prefix) >= 0;
    }
    size_t times = attends ? 2 : 1;
    if (take(&rest, "resnets.") && take_number(&rest, &index)) {
        dqg_format(prefix, sizeof prefix, "middle_block.%zu.", times * index);
        return replace(residual, DQG_COUNT_OF(residual), prefix, rest, to);
    }
    return take(&rest, "attentions.") && take_number(&rest, &index) &&
           dqg_format(to->name, sizeof to->name, "middle_block.%zu.%s", 2 * index + 1, rest) < sizeof to->name;
}

static bool rename_name(const struct names *names, const char *name, struct dqg_rename *to) {
    size_t level;
    if (strchr(name, '/') != NULL) {
        return false;
    }
    if (take(&name, "down_blocks.")) {
        return take_number(&name, &level) && rename_level(names, true, level, name, to);
    }
    if (take(&name, "up_blocks.")) {
        return take_number(&name, &level) && rename_level(names, false, level, name, to);
    }
    if (take(&name, "mid_block.")) {
        return rename_middle(names, name, to);
    }
    return replace(ends, DQG_COUNT_OF(ends), "", name, to);
}

bool dqg_unet_rename(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to) {
    return rename_name(&(struct names){.source = source, .prefix = prefix}, name, to);
}

bool dqg_unet_rename_loaded(const struct dqg_model *model, const char *name, struct dqg_rename *to) {
    return rename_name(&(struct names){.model = model}, name, to);
}
