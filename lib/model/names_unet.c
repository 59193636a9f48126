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

struct names {
    const struct dqg_source *source;
    const char *prefix;
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

/* Of levels before this one; more are in front of each where a level ends with a block of its own. */
static size_t count_before(const struct names *names, const char *list, size_t level, size_t more) {
    size_t count = 0;
    for (size_t i = 0; i < level && i < DQG_UNET_LEVELS; i++) {
        count += count_blocks(names, list, i) + more;
    }
    return count;
}

/* What stands in a level, behind its number: block 0 of the level is number first. */
static bool rename_level(const struct names *names, const char *list, size_t level, const char *rest,
                         struct dqg_rename *to) {
    bool down = list[0] == 'd';
    const char *own = down ? "input_blocks" : "output_blocks";
    size_t index, first = count_before(names, list, level, down) + (down ? 1 : 0);
    char prefix[64];
    if (take(&rest, "resnets.") && take_number(&rest, &index)) {
        dqg_format(prefix, sizeof prefix, "%s.%zu.0.", own, first + index);
        return replace(residual, DQG_COUNT_OF(residual), prefix, rest, to);
    }
    if (take(&rest, "attentions.") && take_number(&rest, &index)) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.1.%s", own, first + index, rest) < sizeof to->name;
    }
    size_t count = count_blocks(names, list, level);
    if (down && take(&rest, "downsamplers.0.conv.")) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.0.op.%s", own, first + count, rest) < sizeof to->name;
    }
    if (!down && take(&rest, "upsamplers.0.conv.") && count > 0) {
        return dqg_format(to->name, sizeof to->name, "%s.%zu.%d.conv.%s", own, first + count - 1,
                          has_attention(names, list, level) ? 2 : 1, rest) < sizeof to->name;
    }
    return false;
}

/* ResBlock, transformer, ResBlock; or the ResBlocks alone. */
static bool rename_middle(const struct names *names, const char *rest, struct dqg_rename *to) {
    char prefix[64];
    size_t index;
    dqg_format(prefix, sizeof prefix, "%smid_block.attentions.0.norm.weight", names->prefix);
    size_t times = dqg_source_find(names->source, prefix) >= 0 ? 2 : 1;
    if (take(&rest, "resnets.") && take_number(&rest, &index)) {
        dqg_format(prefix, sizeof prefix, "middle_block.%zu.", times * index);
        return replace(residual, DQG_COUNT_OF(residual), prefix, rest, to);
    }
    return take(&rest, "attentions.") && take_number(&rest, &index) &&
           dqg_format(to->name, sizeof to->name, "middle_block.%zu.%s", 2 * index + 1, rest) < sizeof to->name;
}

bool dqg_unet_rename(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to) {
    const struct names names = {source, prefix};
    size_t level;
    if (strchr(name, '/') != NULL) {
        return false;
    }
    if (take(&name, "down_blocks.")) {
        return take_number(&name, &level) && rename_level(&names, "down_blocks", level, name, to);
    }
    if (take(&name, "up_blocks.")) {
        return take_number(&name, &level) && rename_level(&names, "up_blocks", level, name, to);
    }
    if (take(&name, "mid_block.")) {
        return rename_middle(&names, name, to);
    }
    return replace(ends, DQG_COUNT_OF(ends), "", name, to);
}
