/* SPDX-License-Identifier: MIT */
/*
 * Control networks of Stable Diffusion: "Adding Conditional Control to Text-to-Image Diffusion Models", Zhang et al.
 * 2023 (arXiv 2302.05543). The way down and the middle of a U-Net, which sees a picture beside the latent; what its
 * blocks give, each through a product of its own, is added to the skip connections of the U-Net and to its middle's
 * result. Names are those of the authors' code without "control_model."; parts in unet_parts.c.
 *
 *   hint = input_hint_block(picture)            at the latent's size, the same in all steps
 *   x    = block(x), after the first one + hint
 *   skip = skip + scale * zero_convs(x)         of the U-Net
 */
#include "model/control.h"

#include "model/settings.h"

enum { MOST_HINTS = 32 /* convolutions of the picture */, TOKENS = 77, SIDE = 64 };

static const char folder[] = "controlnet";

/* A tensor of networks for several kinds of pictures at once, which have more parts. */
static const char union_mark[] = "task_embedding";

extern const struct dqg_family dqg_family_controlnet;

static const struct dqg_weight *find(const struct dqg_model *model, const char *format, size_t number) {
    char name[DQG_UNET_NAME];
    dqg_format(name, sizeof name, format, number);
    return dqg_model_find(model, name);
}

/* Convolutions of the picture, numbered with the activations between them. */
static size_t count_hints(const struct dqg_model *model) {
    size_t count = 0;
    while (count < MOST_HINTS && find(model, "input_hint_block.%zu.weight", 2 * count) != NULL) {
        count++;
    }
    return count;
}

/* Between the first and the last, every second one halves. */
static bool halves(size_t convolution, size_t count) {
    return convolution > 0 && convolution + 1 < count && convolution % 2 == 0;
}

/* ---- graph ---- */

static int32_t build_hint(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    size_t times = hyper->control_times, count = count_hints(model);
    struct dqg_picture picture = {model, graph, graph->height * times, graph->width * times};
    int32_t x = dqg_graph_picture(graph, "control", hyper->control_channels, picture.height, picture.width);
    for (size_t i = 0; i < count; i++) {
        char name[DQG_UNET_NAME];
        dqg_format(name, sizeof name, "input_hint_block.%zu", 2 * i);
        x = dqg_picture_conv(&picture, name, x, halves(i, count) ? DQG_CONV_HALF : DQG_CONV_SAME, true);
        if (i + 1 < count) {
            dqg_format(name, sizeof name, "input_hint_block.%zu", 2 * i + 1);
            x = dqg_graph_activate(graph, dqg_picture_name(&picture, name, ""), x, DQG_ACT_SILU);
        }
    }
    return x;
}

/* The scale of each sample, as a gate for the widest product. */
static int32_t build_gate(const struct dqg_model *model, struct dqg_graph *graph) {
    size_t columns = dqg_model_find(model, "middle_block_out.0.weight")->size.rows;
    const struct dqg_weight *weight;
    for (size_t i = 0; (weight = find(model, "zero_convs.%zu.0.weight", i)) != NULL; i++) {
        columns = weight->size.rows > columns ? weight->size.rows : columns;
    }
    return dqg_graph_input(graph, "control.scale", DQG_INPUT_CONTROL_SCALE, columns);
}

dqg_status dqg_control_init(struct dqg_control *control, const struct dqg_model *model, struct dqg_graph *graph,
                            int32_t context) {
    DQG_TRY(dqg_unet_init(&control->unet, model, graph, folder));
    control->unet.aside = true;
    if (context != DQG_NO_VALUE) {
        dqg_unet_constants(&control->unet, context);
    }
    control->hint = build_hint(model, graph);
    control->gate = build_gate(model, graph);
    return DQG_OK;
}

void dqg_control_start(struct dqg_control *control, int32_t x) {
    dqg_unet_time(&control->unet, dqg_unet_label(&control->unet));
    control->x = x;
}

/* x plus what the network says there; or that alone. */
static int32_t add(struct dqg_control *control, const char *product, int32_t x) {
    struct dqg_picture *picture = &control->unet.picture;
    struct dqg_graph *graph = picture->graph;
    int32_t y = dqg_picture_linear(picture, product, control->x, true);
    if (x == DQG_NO_VALUE || graph->failed) {
        return y;
    }
    if (graph->values[x].columns != graph->values[y].columns || graph->values[x].rows != graph->values[y].rows) {
        return dqg_picture_fail(picture, product, "weight", "does not fit the U-Net's block that it is added to", x);
    }
    return dqg_graph_add(graph, dqg_picture_name(picture, "control", product), x, control->gate, 0, y);
}

int32_t dqg_control_block(struct dqg_control *control, size_t block, int32_t x) {
    struct dqg_unet *unet = &control->unet;
    struct dqg_graph *graph = unet->picture.graph;
    char name[DQG_UNET_NAME];
    dqg_format(name, sizeof name, "input_blocks.%zu", block);
    control->x = dqg_unet_block(unet, name, control->x);
    if (block == 0 && !graph->failed) {
        if (graph->values[control->x].columns != graph->values[control->hint].columns) {
            return dqg_picture_fail(&unet->picture, "input_hint_block", "weight", "ends with another width", x);
        }
        control->x = dqg_graph_add(graph, "hint.add", control->hint, DQG_NO_VALUE, 0, control->x);
    }
    dqg_format(name, sizeof name, "zero_convs.%zu.0", block);
    return add(control, name, x);
}

int32_t dqg_control_middle(struct dqg_control *control, int32_t x) {
    control->x = dqg_unet_block(&control->unet, "middle_block", control->x);
    return add(control, "middle_block_out.0", x);
}

/* The network alone: to check all of its tensors. Its results are what it adds to the middle. */
static dqg_status build(const struct dqg_model *model, struct dqg_graph *graph) {
    const struct dqg_hyper *hyper = &model->hyper;
    struct dqg_control control;
    int32_t context = DQG_NO_VALUE;
    DQG_TRY(dqg_graph_init(graph->context, graph, (int32_t)(2 * model->weight_count) + 32));
    if (hyper->context_width > 0) {
        context = dqg_graph_input(graph, "context", DQG_INPUT_CONTEXT, hyper->context_width);
    }
    DQG_TRY(dqg_control_init(&control, model, graph, context));
    dqg_control_start(&control, dqg_graph_patchify(graph, "latent", NULL));
    for (size_t i = 0; find(model, "zero_convs.%zu.0.weight", i) != NULL && !graph->failed; i++) {
        dqg_control_block(&control, i, DQG_NO_VALUE);
    }
    dqg_graph_result(graph, "output", dqg_control_middle(&control, DQG_NO_VALUE), 0);
    return DQG_OK;
}

/* ---- sizes ---- */

static bool detect(const struct dqg_source *source) {
    return dqg_source_find(source, "zero_convs.0.0.weight") >= 0 &&
           dqg_source_find(source, "middle_block_out.0.weight") >= 0 &&
           dqg_source_find(source, "time_embed.0.weight") >= 0;
}

static dqg_status configure(struct dqg_context *context, struct dqg_model *model) {
    struct dqg_hyper *hyper = &model->hyper;
    const struct dqg_weight *in = dqg_model_find(model, "input_blocks.0.0.weight");
    const struct dqg_weight *out = dqg_model_find(model, "middle_block_out.0.weight");
    const struct dqg_weight *time = dqg_model_find(model, "time_embed.0.weight");
    const struct dqg_weight *hint = dqg_model_find(model, "input_hint_block.0.weight");
    size_t hints = count_hints(model);
    if (in == NULL || out == NULL || time == NULL || hint == NULL || in->rank != 4 || hint->rank != 4 ||
        out->size.rows == 0 || time->size.columns < 2 || time->size.columns % 2 != 0 || hints < 2 || hints % 2 != 0 ||
        hints == MOST_HINTS) {
        return dqg_fail(context, DQG_ERROR_FORMAT,
                        "this looks like a control network, but input_blocks.0.0, middle_block_out.0, time_embed.0 or "
                        "input_hint_block is missing or has an impossible shape");
    }
    if (dqg_model_find(model, union_mark) != NULL) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "this control network is for several kinds of pictures at once (%s), which is not supported",
                        union_mark);
    }
    hyper->hidden = in->size.rows;
    hyper->patch = 1;
    hyper->channels = (size_t)in->shape[1];
    hyper->out_channels = out->size.rows;
    hyper->frequencies = time->size.columns;
    hyper->context_width = dqg_unet_measure(model).context;
    hyper->context_tokens = hyper->context_width > 0 ? TOKENS : 0;
    hyper->control_channels = (size_t)hint->shape[1];
    hyper->control_times = (size_t)1 << (hints / 2 - 1);
    dqg_unet_find_sizes(model, folder);
    hyper->height = hyper->width = SIDE;
    return DQG_OK;
}

/* ---- joined with a U-Net ---- */

const struct dqg_model *dqg_model_control(const struct dqg_model *model) {
    const struct dqg_model *found = model->control;
    for (size_t i = 0; i < model->part_count && found == NULL; i++) {
        found = model->parts[i]->family == &dqg_family_controlnet ? model->parts[i] : NULL;
    }
    return found;
}

dqg_status dqg_model_join_control(struct dqg_context *context, struct dqg_model *model) {
    const struct dqg_model *control = dqg_model_control(model);
    const struct dqg_hyper *own = &model->hyper, *other = control != NULL ? &control->hyper : NULL;
    if (other == NULL) {
        return DQG_OK;
    }
    if (!model->family->controlled) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED, "networks of the family '%s' cannot take a control network",
                        model->family->name);
    }
    if (own->channels + own->extra_channels != other->channels || own->context_width != other->context_width ||
        own->pooled_width != other->pooled_width || own->size_count != other->size_count) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "the control network is for another U-Net: it takes %zu channels, context rows of %zu columns "
                        "and pooled rows of %zu; this one %zu, %zu and %zu",
                        other->channels, other->context_width, other->pooled_width, own->channels + own->extra_channels,
                        own->context_width, own->pooled_width);
    }
    model->hyper.control_channels = other->control_channels;
    model->hyper.control_times = other->control_times;
    struct dqg_graph graph;
    const struct dqg_graph_config config = {.samples = 1, .control = true};
    DQG_TRY(dqg_model_graph(context, model, &config, &graph));
    model->operators = graph.node_count;
    dqg_graph_free(&graph);
    return DQG_OK;
}

dqg_status dqg_model_attach_control_(struct dqg_context *context, struct dqg_model *model, struct dqg_model *control,
                                     struct dqg_model **joined) {
    if (control->family != &dqg_family_controlnet) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "control: a model of the family '%s' is no control network",
                        control->family->name);
    }
    if (control->described && !model->described) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT,
                        "control: it is read on demand, but the model is in memory; load both with the same "
                        "'components'");
    }
    struct dqg_model *made = dqg_malloc(&model->alloc, sizeof *made);
    if (made == NULL) {
        return dqg_fail_memory(context, "the model", sizeof *made);
    }
    size_t counted = offsetof(struct dqg_model, alloc); /* others may be counting the model's references */
    memcpy((char *)made + counted, (const char *)model + counted, sizeof *made - counted);
    made->references = 1;
    made->lender = model;
    made->control = control;
    dqg_status status = dqg_model_join_control(context, made);
    if (status < 0) {
        dqg_free(&model->alloc, made, sizeof *made);
        return status;
    }
    dqg_model_retain_(model);
    dqg_model_retain_(control);
    *joined = made;
    return DQG_OK;
}

/* ---- names ---- */

/* A number in front of a point, where the rest begins. */
static bool read_number(const char *text, int64_t *number, const char **rest) {
    *rest = strchr(text, '.');
    return *rest != NULL && dqg_parse_int64(text, (size_t)(*rest - text), number) && *number >= 0 &&
           *number < DQG_UNET_SKIPS;
}

/* Convolutions of the picture: diffusers numbers all but the first and the last. */
static bool rename_hint(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to) {
    static const char in[] = "conv_in.", out[] = "conv_out.", block[] = "blocks.";
    const char *rest = strchr(name, '.');
    int64_t number = -1;
    if (strncmp(name, out, sizeof out - 1) == 0) {
        char next[DQG_UNET_NAME];
        do {
            number++;
            dqg_format(next, sizeof next, "%scontrolnet_cond_embedding.blocks.%d.weight", prefix, (int)number);
        } while (number < MOST_HINTS && dqg_source_find(source, next) >= 0);
    } else if (strncmp(name, block, sizeof block - 1) == 0) {
        if (!read_number(name + sizeof block - 1, &number, &rest)) {
            return false;
        }
    } else if (strncmp(name, in, sizeof in - 1) != 0) {
        return false;
    }
    return dqg_format(to->name, sizeof to->name, "input_hint_block.%d%s", (int)(2 * number + 2), rest) <
           sizeof to->name;
}

/* What is the control network's own: "<authors' list>.<number>.0.<rest>" in place of "<diffusers' list>.<number>". */
static bool rename_tensor(const struct dqg_source *source, const char *prefix, const char *name,
                          struct dqg_rename *to) {
    static const char hint[] = "controlnet_cond_embedding.", down[] = "controlnet_down_blocks.",
                      middle[] = "controlnet_mid_block.";
    static const char *const kept[] = {"input_hint_block.", "zero_convs.", "middle_block_out.", union_mark};
    int64_t number;
    for (size_t i = 0; i < DQG_COUNT_OF(kept); i++) {
        if (strncmp(name, kept[i], strlen(kept[i])) == 0) {
            return dqg_format(to->name, sizeof to->name, "%s", name) < sizeof to->name;
        }
    }
    if (strncmp(name, hint, sizeof hint - 1) == 0) {
        return rename_hint(source, prefix, name + sizeof hint - 1, to);
    }
    if (strncmp(name, middle, sizeof middle - 1) == 0) {
        return dqg_format(to->name, sizeof to->name, "middle_block_out.0.%s", name + sizeof middle - 1) <
               sizeof to->name;
    }
    if (strncmp(name, down, sizeof down - 1) == 0) {
        const char *rest;
        return read_number(name + sizeof down - 1, &number, &rest) &&
               dqg_format(to->name, sizeof to->name, "zero_convs.%d.0%s", (int)number, rest) < sizeof to->name;
    }
    return dqg_unet_rename(source, prefix, name, to);
}

/* As the U-Net's; the convolutions of the picture are small and run once; products that lead over to the U-Net, 2 % of
 * the weights, see all that was made. */
static const char *const rules[][2] = {
    {"input_hint_block.*", "f16"},
    {"input_blocks.0.0.*", "f16"},
    {"time_embed.*", "f16"},
    {"label_emb.*", "f16"},
    {"zero_convs.*", "int8"},
    {"middle_block_out.*", "int8"},
    {"*.emb_layers.1.*", "int8"},
    {"*.skip_connection.*", "int8"},
    {"*.proj_in.*", "int8"},
    {"*.proj_out.*", "int8"},
    {"*.op.*", "int8"},
    {NULL, NULL},
};

const struct dqg_family dqg_family_controlnet = {
    .name = "controlnet",
    .role = "controlnet",
    .marker = "input_hint_block.0.weight",
    .detect = detect,
    .rename_in = rename_tensor,
    .configure = configure,
    .build = build,
    .rules = rules,
};
