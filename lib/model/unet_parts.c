/* SPDX-License-Identifier: MIT */
/*
 * U-Nets of latent diffusion: "High-Resolution Image Synthesis with Latent Diffusion Models", Rombach et al. 2022;
 * "SDXL", Podell et al. 2023 (arXiv 2307.01952). See unet_parts.h.
 *
 *   ResBlock     x = shortcut(x) + conv(silu(norm(conv(silu(norm(x))) + linear(time))))
 *   transformer  x += project_out(layers(project_in(norm(x))))
 *   layer        x += self(norm(x)), x += cross(norm(x), context), x += linear(glu(linear(norm(x))))
 *
 * What stands in a numbered block is told by its tensors.
 */
#include "model/control.h"

#include "model/settings.h"

enum { GROUPS = 32, CONV_HEADS = 8, HEAD_WIDTH = 64, SIZE_COLUMNS = 256, MODULES = 3 /* most of a block */ };

static const float norm_epsilon = 1e-5f, transformer_epsilon = 1e-6f;

static bool has(const struct dqg_unet *unet, const char *prefix, const char *part) {
    return dqg_picture_find(unet->picture.model, prefix, part) != NULL;
}

/* "<prefix>.<part>" in a buffer. Names of tensors are shorter; a longer one would be told as missing. */
static const char *join(char name[DQG_UNET_NAME], const char *prefix, const char *part) {
    dqg_format(name, DQG_UNET_NAME, "%s.%s", prefix, part);
    return name;
}

static const char *number(char name[DQG_UNET_NAME], const char *prefix, size_t index) {
    dqg_format(name, DQG_UNET_NAME, "%s.%zu", prefix, index);
    return name;
}

static int32_t linear(struct dqg_unet *unet, const char *prefix, const char *part, int32_t x, bool needs_bias) {
    char name[DQG_UNET_NAME];
    return dqg_picture_linear(&unet->picture, join(name, prefix, part), x, needs_bias);
}

static int32_t layer_norm(struct dqg_unet *unet, const char *prefix, const char *part, int32_t x) {
    char name[DQG_UNET_NAME];
    return dqg_picture_layer_norm(&unet->picture, join(name, prefix, part), x, norm_epsilon);
}

static int32_t add(struct dqg_unet *unet, const char *prefix, const char *part, int32_t x, int32_t y) {
    struct dqg_graph *graph = unet->picture.graph;
    if (graph->failed) {
        return x;
    }
    if (graph->values[x].columns != graph->values[y].columns || graph->values[x].rows != graph->values[y].rows) {
        return dqg_picture_fail(&unet->picture, prefix, part, "does not lead back to the width it began from", x);
    }
    return dqg_graph_add(graph, dqg_picture_name(&unet->picture, prefix, part), x, DQG_NO_VALUE, 0, y);
}

/* Fails where a list of modules has tensors from number first on: nobody knows what they are for. */
static int32_t check_rest(struct dqg_unet *unet, const char *list, size_t first, int32_t x) {
    const struct dqg_model *model = unet->picture.model;
    char name[DQG_UNET_NAME];
    size_t length = dqg_format(name, sizeof name, "%s.%zu.", list, first);
    for (size_t i = 0; i < model->weight_count; i++) {
        if (strncmp(model->weights[i].name, name, length) == 0) {
            return dqg_picture_fail(&unet->picture, name, model->weights[i].name + length,
                                    "belongs to a part of unknown kind, or one that is not complete", x);
        }
    }
    return x;
}

/* ---- ResBlocks ---- */

static int32_t build_residual(struct dqg_unet *unet, const char *prefix, int32_t x) {
    struct dqg_picture *picture = &unet->picture;
    char name[DQG_UNET_NAME];
    int32_t y = dqg_picture_norm(picture, join(name, prefix, "in_layers.0"), x, GROUPS, norm_epsilon, DQG_ACT_SILU);
    y = dqg_picture_conv_added(picture, join(name, prefix, "in_layers.2"), y, DQG_CONV_SAME,
                               unet->times[unet->residual++]);
    y = dqg_picture_norm(picture, join(name, prefix, "out_layers.0"), y, GROUPS, norm_epsilon, DQG_ACT_SILU);
    if (has(unet, prefix, "skip_connection.weight")) {
        x = dqg_picture_conv(picture, join(name, prefix, "skip_connection"), x, DQG_CONV_SAME, true);
    }
    y = dqg_picture_conv(picture, join(name, prefix, "out_layers.3"), y, DQG_CONV_SAME, true);
    return add(unet, prefix, "add", x, y);
}

/* ---- transformers ---- */

/* Heads of a transformer of d columns; 0 after a failure. */
static size_t count_heads(struct dqg_unet *unet, const char *prefix, size_t d) {
    const struct dqg_weight *project = dqg_picture_find(unet->picture.model, prefix, "proj_in.weight");
    size_t heads = unet->level < DQG_UNET_LEVELS ? unet->heads[unet->level] : 0;
    if (heads == 0 && project->rank == 4) {
        heads = CONV_HEADS;
    } else if (heads == 0) {
        heads = d % HEAD_WIDTH == 0 ? d / HEAD_WIDTH : 0;
    }
    if (heads == 0 || d % heads != 0 || d / heads > DQG_ATTENTION_WIDTH) {
        dqg_picture_fail(&unet->picture, prefix, "proj_in.weight",
                         "has a width that cannot be cut into heads: metadata 'num_attention_heads' must say how many, "
                         "for each level",
                         0);
        return 0;
    }
    return heads;
}

static int32_t build_attention(struct dqg_unet *unet, const char *prefix, int32_t x, size_t heads,
                               const int32_t *keys) {
    struct dqg_graph *graph = unet->picture.graph;
    size_t d = graph->values[x].columns;
    int32_t q = linear(unet, prefix, "to_q", x, false);
    int32_t k = keys != NULL ? keys[0] : linear(unet, prefix, "to_k", x, false);
    int32_t v = keys != NULL ? keys[1] : linear(unet, prefix, "to_v", x, false);
    const struct dqg_graph_attention_args args = {
        .q = q, .k = k, .v = v, .width = d, .heads = heads, .mask = DQG_NO_VALUE, .self = keys == NULL};
    if (graph->failed) {
        return x;
    }
    if (graph->values[q].columns != d || graph->values[k].columns != d || graph->values[v].columns != d) {
        return dqg_picture_fail(&unet->picture, prefix, "to_q.weight", "differs in width from its keys or values", x);
    }
    x = dqg_graph_attention_to(graph, dqg_picture_name(&unet->picture, prefix, "attention"), &args);
    return linear(unet, prefix, "to_out.0", x, true);
}

static int32_t build_layer(struct dqg_unet *unet, const char *prefix, int32_t x, size_t heads, const int32_t *keys) {
    char name[DQG_UNET_NAME];
    int32_t y = layer_norm(unet, prefix, "norm1", x);
    y = build_attention(unet, join(name, prefix, "attn1"), y, heads, NULL);
    x = add(unet, prefix, "attn1.add", x, y);
    y = layer_norm(unet, prefix, "norm2", x);
    y = build_attention(unet, join(name, prefix, "attn2"), y, heads, keys);
    x = add(unet, prefix, "attn2.add", x, y);
    y = layer_norm(unet, prefix, "norm3", x);
    y = linear(unet, prefix, "ff.net.0.proj", y, true);
    y = dqg_graph_glu(unet->picture.graph, dqg_picture_name(&unet->picture, prefix, "ff.glu"), y, DQG_ACT_GELU_ERF);
    y = linear(unet, prefix, "ff.net.2", y, true);
    return add(unet, prefix, "ff.add", x, y);
}

/* Is the next layer built? */
static bool begin_layer(struct dqg_unet *unet) {
    struct dqg_graph *graph = unet->picture.graph;
    if (unet->aside) {
        graph->perturbed = false;
        return true;
    }
    return dqg_graph_begin_block(graph, unet->layer);
}

static int32_t build_transformer(struct dqg_unet *unet, const char *prefix, int32_t x) {
    char name[DQG_UNET_NAME], part[64];
    struct dqg_graph *graph = unet->picture.graph;
    int32_t y =
        dqg_picture_norm(&unet->picture, join(name, prefix, "norm"), x, GROUPS, transformer_epsilon, DQG_ACT_NONE);
    y = linear(unet, prefix, "proj_in", y, true);
    size_t heads = graph->failed ? 0 : count_heads(unet, prefix, graph->values[y].columns);
    for (size_t i = 0; heads > 0; i++, unet->layer++) {
        dqg_format(part, sizeof part, "transformer_blocks.%zu", i);
        if (!has(unet, join(name, prefix, part), "attn2.to_k.weight")) {
            check_rest(unet, join(name, prefix, "transformer_blocks"), i, y);
            break;
        }
        if (begin_layer(unet)) {
            y = build_layer(unet, name, y, heads, unet->keys + 2 * unet->layer);
        }
    }
    y = linear(unet, prefix, "proj_out", y, true);
    return add(unet, prefix, "add", x, y);
}

/* ---- numbered blocks ---- */

/* To twice the size; where the skip connection that comes next had an odd size, to that. */
static int32_t build_doubled(struct dqg_unet *unet, const char *prefix, int32_t x) {
    struct dqg_picture *picture = &unet->picture;
    char name[DQG_UNET_NAME];
    const struct dqg_unet_skip *next = unet->skip_count > 0 ? &unet->skips[unet->skip_count - 1] : NULL;
    join(name, prefix, "conv");
    unet->level -= unet->level > 0;
    if (next == NULL || picture->graph->failed ||
        (next->height == 2 * picture->height && next->width == 2 * picture->width)) {
        return dqg_picture_conv(picture, name, x, DQG_CONV_DOUBLE, true);
    }
    x = dqg_graph_resize(picture->graph, dqg_picture_name(picture, prefix, "resize"), x, picture->height,
                         picture->width, next->height, next->width);
    picture->height = next->height;
    picture->width = next->width;
    return dqg_picture_conv(picture, name, x, DQG_CONV_SAME, true);
}

/* All modules of a block, one after the other. */
int32_t dqg_unet_block(struct dqg_unet *unet, const char *block, int32_t x) {
    char name[DQG_UNET_NAME], conv[DQG_UNET_NAME];
    size_t i;
    for (i = 0; i < MODULES; i++) {
        number(name, block, i);
        if (unet->picture.graph->failed) {
            return x;
        }
        if (has(unet, name, "in_layers.0.weight")) {
            x = build_residual(unet, name, x);
        } else if (has(unet, name, "proj_in.weight")) {
            x = build_transformer(unet, name, x);
        } else if (has(unet, name, "op.weight")) {
            x = dqg_picture_conv(&unet->picture, join(conv, name, "op"), x, DQG_CONV_HALF, true);
            unet->level++;
        } else if (has(unet, name, "conv.weight")) {
            x = build_doubled(unet, name, x);
        } else if (has(unet, name, "weight")) {
            x = dqg_picture_conv(&unet->picture, name, x, DQG_CONV_SAME, true);
        } else {
            break;
        }
    }
    return check_rest(unet, block, i, x);
}

/* Blocks have their first module as one of these. */
static bool is_block(const struct dqg_unet *unet, const char *block) {
    return has(unet, block, "0.in_layers.0.weight") || has(unet, block, "0.op.weight") || has(unet, block, "0.weight");
}

/* ---- the parts of a network ---- */

dqg_status dqg_unet_init(struct dqg_unet *unet, const struct dqg_model *model, struct dqg_graph *graph,
                         const char *folder) {
    *unet = (struct dqg_unet){.picture = {.model = model, .graph = graph}};
    /* diffusers' first name for the number of heads is the second one here. */
    size_t given = dqg_model_settings(model, folder, "num_attention_heads", unet->heads, DQG_UNET_LEVELS);
    if (given == 0) {
        given = dqg_model_settings(model, folder, "attention_head_dim", unet->heads, DQG_UNET_LEVELS);
    }
    for (size_t i = 0; i < given; i++) {
        if (unet->heads[i] == 0) {
            return dqg_fail(graph->context, DQG_ERROR_FORMAT,
                            "'num_attention_heads' or 'attention_head_dim' of the configuration is not a number of "
                            "heads, or a list of them");
        }
    }
    for (size_t i = 1; given == 1 && i < DQG_UNET_LEVELS; i++) {
        unet->heads[i] = unet->heads[0];
    }
    unet->picture.height = graph->height;
    unet->picture.width = graph->width;
    size_t bytes = 2 * model->weight_count * sizeof *unet->keys;
    unet->keys = dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes);
    unet->times = unet->keys != NULL ? dqg_arena_alloc(&graph->context->alloc, &graph->arena, bytes) : NULL;
    return unet->times != NULL ? DQG_OK : dqg_fail_memory(graph->context, "the network graph", bytes);
}

/* Calls visit for every module "<block>.<i>" of all blocks, in the order of execution. */
static void visit_modules(struct dqg_unet *unet, void (*visit)(struct dqg_unet *, const char *, int32_t), int32_t x) {
    static const char *const lists[] = {"input_blocks", "middle_block", "output_blocks"};
    char block[DQG_UNET_NAME], module[DQG_UNET_NAME];
    for (size_t list = 0; list < DQG_COUNT_OF(lists); list++) {
        bool single = list == 1;
        for (size_t i = 0; single ? i == 0 : is_block(unet, number(block, lists[list], i)); i++) {
            for (size_t k = 0; k < MODULES; k++) {
                visit(unet, number(module, single ? lists[list] : block, k), x);
            }
        }
    }
    unet->residual = unet->layer = 0;
}

/* Keys and values of the layers of a module. */
static void project_context(struct dqg_unet *unet, const char *module, int32_t context) {
    char name[DQG_UNET_NAME], part[64];
    for (size_t i = 0;; i++, unet->layer++) {
        dqg_format(part, sizeof part, "transformer_blocks.%zu.attn2", i);
        if (!has(unet, join(name, module, part), "to_k.weight")) {
            return;
        }
        if (begin_layer(unet)) {
            unet->keys[2 * unet->layer] = linear(unet, name, "to_k", context, false);
            unet->keys[2 * unet->layer + 1] = linear(unet, name, "to_v", context, false);
        }
    }
}

void dqg_unet_constants(struct dqg_unet *unet, int32_t context) {
    visit_modules(unet, project_context, context);
}

static void project_time(struct dqg_unet *unet, const char *module, int32_t time) {
    if (has(unet, module, "in_layers.0.weight")) {
        unet->times[unet->residual++] = linear(unet, module, "emb_layers.1", time, true);
    }
}

int32_t dqg_unet_label(struct dqg_unet *unet) {
    const struct dqg_hyper *hyper = &unet->picture.model->hyper;
    struct dqg_graph *graph = unet->picture.graph;
    size_t width = dqg_unet_measure(unet->picture.model).label;
    if (width == 0 && dqg_model_find(unet->picture.model, "label_emb.0.2.weight") == NULL) {
        return DQG_NO_VALUE;
    }
    int32_t y = dqg_graph_input(graph, "pooled", DQG_INPUT_POOLED, hyper->pooled_width);
    if (hyper->size_count > 0) {
        size_t columns = (width - hyper->pooled_width) / hyper->size_count;
        int32_t sizes = dqg_graph_numbers(graph, "sizes", DQG_INPUT_SIZES, hyper->size_count, 1, columns);
        y = dqg_graph_concat(graph, "label_emb.concat", y, sizes);
    }
    y = dqg_picture_linear(&unet->picture, "label_emb.0.0", y, true);
    y = dqg_graph_activate(graph, "label_emb.act", y, DQG_ACT_SILU);
    return dqg_picture_linear(&unet->picture, "label_emb.0.2", y, true);
}

/* All projections here: as int8 rows the time is made once, outside of branches that may be left out. */
void dqg_unet_time(struct dqg_unet *unet, int32_t addend) {
    struct dqg_graph *graph = unet->picture.graph;
    int32_t c = dqg_graph_timestep(graph, "timestep", unet->picture.model->hyper.frequencies);
    c = dqg_picture_linear(&unet->picture, "time_embed.0", c, true);
    c = dqg_graph_activate(graph, "time_embed.act", c, DQG_ACT_SILU);
    c = dqg_picture_linear(&unet->picture, "time_embed.2", c, true);
    if (addend != DQG_NO_VALUE) {
        c = add(unet, "time_embed", "add", addend, c);
    }
    c = dqg_graph_activate(graph, "time", c, DQG_ACT_SILU);
    visit_modules(unet, project_time, c);
}

/* Onto the stack of skips, with the control network's part. */
static void push(struct dqg_unet *unet, int32_t x) {
    if (unet->skip_count == DQG_UNET_SKIPS) {
        dqg_picture_fail(&unet->picture, "input_blocks", "weight", "has more blocks than are supported", x);
        return;
    }
    if (unet->control != NULL) {
        x = dqg_control_block(unet->control, unet->skip_count, x);
    }
    unet->skips[unet->skip_count++] = (struct dqg_unet_skip){x, unet->picture.height, unet->picture.width};
}

int32_t dqg_unet_down(struct dqg_unet *unet, int32_t x) {
    char name[DQG_UNET_NAME];
    for (size_t i = 0; is_block(unet, number(name, "input_blocks", i)) && !unet->picture.graph->failed; i++) {
        x = dqg_unet_block(unet, name, x);
        push(unet, x);
    }
    return x;
}

int32_t dqg_unet_middle(struct dqg_unet *unet, int32_t x) {
    x = dqg_unet_block(unet, "middle_block", x);
    return unet->control != NULL ? dqg_control_middle(unet->control, x) : x;
}

/* A branch for each skip connection: what lies below it changes less from step to step than what is above. */
int32_t dqg_unet_up(struct dqg_unet *unet, int32_t x) {
    struct dqg_graph *graph = unet->picture.graph;
    char name[DQG_UNET_NAME];
    for (size_t i = 0; is_block(unet, number(name, "output_blocks", i)) && !graph->failed; i++) {
        if (unet->skip_count == 0) {
            return dqg_picture_fail(&unet->picture, name, "0.in_layers.0.weight", "has no input block to go with", x);
        }
        const struct dqg_unet_skip skip = unet->skips[--unet->skip_count];
        if (graph->values[skip.value].rows != graph->values[x].rows) {
            return dqg_picture_fail(&unet->picture, name, "0.in_layers.0.weight", "has another size than its skip", x);
        }
        dqg_graph_branch(graph, skip.value, x);
        x = dqg_graph_concat(graph, dqg_picture_name(&unet->picture, name, "concat"), x, skip.value);
        x = dqg_unet_block(unet, name, x);
    }
    return x;
}

struct dqg_unet_sizes dqg_unet_measure(const struct dqg_model *model) {
    struct dqg_unet_sizes sizes = {0};
    size_t before = 0, middle = 0;
    const struct dqg_weight *label = dqg_model_find(model, "label_emb.0.0.weight");
    for (size_t i = 0; i < model->weight_count; i++) {
        const struct dqg_weight *weight = &model->weights[i];
        if (dqg_match("?*.attn2.to_k.weight", weight->name)) {
            sizes.context = weight->size.columns;
            sizes.layers++;
            before += strncmp(weight->name, "input_blocks.", strlen("input_blocks.")) == 0;
            middle += strncmp(weight->name, "middle_block.", strlen("middle_block.")) == 0;
        }
        sizes.halvings += dqg_match("?*.op.weight", weight->name);
    }
    sizes.middle = before + middle / 2;
    sizes.label = label != NULL ? label->size.columns : 0;
    return sizes;
}

/*
 * How many columns of label_emb's input are the pooled row; the rest are sizes. SDXL takes six; its refiner five, which
 * is told by a text encoder that gives context and pooled row alike, or by its four levels. Variations of pictures
 * (unCLIP) take a pooled row alone.
 */
void dqg_unet_find_sizes(struct dqg_model *model, const char *folder) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_unet_sizes sizes = dqg_unet_measure(model);
    size_t width = sizes.label, columns;
    if (dqg_model_settings(model, folder, "addition_time_embed_dim", &columns, 1) == 0 || columns == 0 ||
        columns % 2 != 0) {
        columns = SIZE_COLUMNS;
    }
    size_t count = width == hyper->context_width + 5 * columns ? 5
                   : width == 2 * hyper->context_width         ? 0
                   : sizes.halvings > 2                        ? 5
                                                               : 6;
    hyper->size_count = width > count * columns ? count : 0;
    hyper->pooled_width = width - hyper->size_count * columns;
}
