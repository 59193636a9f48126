/* SPDX-License-Identifier: MIT */
/*
 * A network as a list of operators in the order of execution. An architecture's builder emits simple operators;
 * dqg_graph_fuse() folds activations, gates and residuals into matrix products and puts int8 where quantized
 * weights need it; dqg_graph_plan() gives every value its place in memory. A graph belongs to one batch and image size.
 */
#ifndef DQG_GRAPH_H
#define DQG_GRAPH_H

#include "ops/conv.h"
#include "ops/ops.h"

enum dqg_node_kind {
    DQG_NODE_TIMESTEP,
    DQG_NODE_LABEL,
    DQG_NODE_INPUT,
    DQG_NODE_TOKENS,
    DQG_NODE_PATCHIFY,
    DQG_NODE_ACTIVE,
    DQG_NODE_LINEAR,
    DQG_NODE_CONV,
    DQG_NODE_ACTIVATE,
    DQG_NODE_NORM,
    DQG_NODE_GROUP_NORM,
    DQG_NODE_GLU,
    DQG_NODE_QUANTIZE,
    DQG_NODE_HEADS,
    DQG_NODE_ATTENTION,
    DQG_NODE_CONCAT, /* columns of x, then those of k */
    DQG_NODE_JOIN,   /* of each sample rows of x, then those of k */
    DQG_NODE_SLICE,  /* some rows of each sample */
    DQG_NODE_PICK,   /* one row of each sample, which the evaluation's inputs say */
    DQG_NODE_RESIZE,
    DQG_NODE_POOL,
    DQG_NODE_UNPATCHIFY,
    DQG_NODE_RESULT,    /* rows as an output of the evaluation */
    DQG_NODE_ADD,       /* out = residual + gate * x; with a gate before fusion only */
    DQG_NODE_ADD_TABLE, /* out = x + table */
    DQG_NODE_REMOVED    /* folded into another; exists during fusion only */
};

enum { DQG_NO_VALUE = -1 };

/* What an evaluation is given beside an image: numbers that become embeddings, rows of floats. */
enum dqg_graph_input {
    DQG_INPUT_TIMESTEPS, /* numbers, one for each sample */
    DQG_INPUT_GUIDANCE,  /* numbers, one for each sample */
    DQG_INPUT_SIZES,     /* numbers, some for each sample */
    DQG_INPUT_CONTEXT,   /* rows, graph->context_tokens for each sample */
    DQG_INPUT_MASK,      /* one row for each sample: what is added to scores of its context */
    DQG_INPUT_POOLED     /* one row for each sample */
};

/* A result: rows x columns, floats, or int8 with a scale for each row, or the int8 image of a convolution's input. */
struct dqg_value {
    size_t rows, columns;
    bool int8;
    bool steady; /* made by the first graph->steady nodes and read by later ones */
    size_t image_bytes; /* of an int8 image, else 0 */
    int32_t producer;   /* node */
    int32_t last_use;   /* node, or -1 */
    size_t ld;          /* columns in memory: padded with zeros for int8 */
    size_t bytes;       /* in the arena: rows, then for int8 the row scales */
    size_t offset;
};

/*
 * A range of operators that can be left out where what it gives is known from elsewhere. Blocks are those that a
 * network is a chain of, one after the other. Branches are the inner parts of a U-Net, seen from its skip connections:
 * branch m is everything below skip connection m, so that each lies within the one before.
 */
struct dqg_span {
    int32_t enter; /* value that goes in */
    int32_t leave; /* value that comes out; nothing else made between is read later */
    int32_t input; /* of a block: its first norm, what changes with the sample and the time; or DQG_NO_VALUE */
};

struct dqg_span_list {
    struct dqg_span *spans; /* in order of their ends, room for as many as the graph has nodes */
    int32_t count;
};

/* Which attention kernels a graph uses. Names in this order: dqg_attention_names. */
enum dqg_attention_mode { DQG_ATTENTION_AUTO, DQG_ATTENTION_FLOAT, DQG_ATTENTION_INT8 };
extern const char dqg_attention_names[];

/*
 * A network made worse on purpose in some of its blocks, for guidance away from what it then says: self-attention that
 * passes its values through, as if each token saw itself alone (PAG, Ahn et al. 2024, arXiv 2403.17377), or without
 * these blocks (skip-layer guidance of Stable Diffusion 3.5).
 */
enum dqg_perturbation_kind { DQG_PERTURB_ATTENTION, DQG_PERTURB_SKIP };
struct dqg_perturbation {
    enum dqg_perturbation_kind kind;
    const int64_t *blocks;
    int32_t count;
};

struct dqg_node {
    enum dqg_node_kind kind;
    const char *name;
    int32_t x;          /* main input, or DQG_NO_VALUE for the evaluation's own inputs; queries of an attention */
    int32_t input;      /* which of these: enum dqg_graph_input; of a result: which output */
    int32_t k, v;       /* keys and values of an attention */
    int32_t mask;       /* (samples, keys), added to the scores of an attention, or DQG_NO_VALUE */
    int32_t modulation; /* shift and scale of a norm, gate of an addition: columns of this value, or DQG_NO_VALUE */
    int32_t residual;
    int32_t addend; /* of a convolution: columns of this value are added in each sample; of a product: its rows */
    int32_t out;
    size_t shift_column, scale_column, gate_column, addend_column;
    const struct dqg_weight *weight;
    const float *bias;
    const float *factor;               /* of a norm: learned weights, or NULL; of a branch's inner product: factors */
    const struct dqg_conv_shape *conv; /* of a convolution, or of the quantization of its input */
    const float *table;                /* [rows of a sample][columns]: added to every sample */
    const struct dqg_heads *form;      /* of heads: norms and angles */
    const struct dqg_resize *image;    /* of resizing and pooling: sizes */
    const float *scores;               /* of an attention: [heads][queries][keys], added in every sample, or NULL */
    enum dqg_activation activation;
    float epsilon;
    bool rms;                            /* a norm that takes no mean off */
    bool gated;                          /* a product that a gated unit was folded into */
    size_t heads;                        /* of an attention; groups of a group norm */
    size_t first; /* row of a slice or of no class; numbers for each sample of a timestep embedding */
    const float *added;                  /* of tokens: rows behind the table's, for added_count more ids */
    size_t added_count;
    double multiplier;                   /* that are embedded */
    size_t pixel_padded;                 /* of patches, see struct dqg_patches */
    bool by_channels;                    /* likewise */
    size_t first_output;                 /* of a product's weight; those up to its columns are computed */
    size_t q_column, k_column, v_column; /* of an attention, in its inputs' rows */
    size_t head_columns;                 /* from one head there to the next */
    bool causal;                         /* a token sees none that come after it */
    bool counted;                        /* of keys the first io.lengths of each sample */
    bool self;                           /* attention of the image's tokens to themselves */
    float scale;                         /* of the scores of an attention, or 0 for the usual one */
    bool identity;                       /* an attention that gives its values as they are */
    bool keeps;                          /* an attention whose keys and values can be kept */
    size_t kept;                         /* where, in floats: [samples][all keys][keys' columns, values' columns] */
    bool int8;                           /* integer attention */
};

/* A node of a kind that reads x and nothing else yet. */
struct dqg_node dqg_node_make(enum dqg_node_kind kind, const char *name, int32_t x);

/* Everything that a node reads, x first; DQG_NO_VALUE where it has no such input. */
enum { DQG_NODE_INPUTS = 7 };
void dqg_node_inputs(const struct dqg_node *node, int32_t inputs[DQG_NODE_INPUTS]);

/* What is wanted of a text encoder. Zero: the last layer after the final norm, for all tokens. */
struct dqg_text_form {
    size_t skip; /* layers before the last: whose output the rows are */
    bool no_norm;
    bool no_rows;
    bool pooled; /* a row of the last layer after the final norm, of the token that io.picks says, as result 1 */
    bool no_projection;
    bool counted; /* keys after the first io.lengths are hidden */
};

/*
 * What an adapter adds to the product of a weight with x: up (factors * (down x)), two thin products on the same
 * floats, so that the weight stays as it is. Branches of several adapters follow each other.
 */
struct dqg_branch {
    const struct dqg_weight *down; /* (rank, inputs of the weight) */
    const struct dqg_weight *up;   /* (outputs, rank) */
    const float *factors;          /* [rank], then as many zeros */
    const struct dqg_branch *next;
};

/* What adapters add to a network. Zero: nothing. */
struct dqg_graph_additions {
    const struct dqg_weight *weights;    /* [weight_count] that branches belong to */
    const struct dqg_branch **branches; /* [weight_count] the first of each or NULL; or NULL: none at all */
    size_t weight_count;
    const float *tokens; /* [token_count] rows behind those of the token table */
    size_t token_count;
};

/* Which part of a network a graph is. Autoencoders have two in each direction, see autoencoder.h. */
enum dqg_stage {
    DQG_STAGE_WHOLE,
    DQG_STAGE_DECODE_LATENT,
    DQG_STAGE_DECODE_IMAGE,
    DQG_STAGE_ENCODE_IMAGE,
    DQG_STAGE_ENCODE_LATENT
};

/* For which evaluations a graph is made. Zeros are the defaults. */
struct dqg_graph_config {
    size_t samples;
    size_t height, width; /* 0: the model's own */
    size_t context_tokens; /* 0: the model's own */
    enum dqg_attention_mode attention;
    bool bf16;           /* products with float weights round both factors to bfloat16 */
    bool entropy_scale;  /* self-attention keeps its entropy when the number of tokens is not train_tokens */
    size_t train_tokens; /* 0: the model's own */
    bool fewer_samples;  /* some operators will be run for some of the samples only */
    const struct dqg_perturbation *perturbation; /* or NULL; copied */
    size_t active_tokens;                        /* of a sample, that are computed; 0: all. See dqg_graph_active(). */
    bool keep_keys; /* self-attention can keep keys and values, for graphs of other active_tokens */
    struct dqg_text_form text;
    enum dqg_stage stage;
};

struct dqg_graph {
    struct dqg_context *context;
    struct dqg_arena arena;
    struct dqg_node *nodes;
    struct dqg_value *values;
    int32_t node_count, node_capacity;
    int32_t value_count, value_capacity;
    int32_t steady; /* the first nodes, that give the same as long as context, pooled rows and sizes stay */
    size_t samples, channels, height, width, patch;
    size_t out_channels;
    size_t tokens;         /* of a sample: of its image */
    size_t context_tokens; /* of a sample: rows of the context */
    size_t active_tokens;  /* of the image, that are computed; 0: all */
    bool keep_keys;
    bool selects;        /* dqg_graph_active() was called */
    size_t kept_floats;  /* keys and values that self-attention keeps */
    size_t train_tokens; /* self-attention keeps the entropy it had with so many; 0: as it comes */
    struct dqg_span_list blocks, branches;
    enum dqg_attention_mode attention;
    enum dqg_stage stage;
    bool fewer_samples;  /* see struct dqg_graph_config */
    struct dqg_text_form text;
    size_t memory_bytes; /* of the arena of values */
    size_t shared_bytes; /* scratch that lanes share */
    size_t lane_bytes;   /* scratch of a lane */
    bool bf16;           /* products with float weights round both factors to bfloat16 */
    bool failed;         /* while building: out of memory, or as status says */
    dqg_status status;   /* what a failing builder call reported, or DQG_OK */

    struct dqg_graph_additions additions;
    const struct dqg_perturbation *perturbation; /* NULL for the network as it is */
    int64_t begun;                               /* blocks that dqg_graph_begin_block() was asked about */
    bool perturbed;                              /* the one being built */
};

/* ---- builder ---- */

dqg_status dqg_graph_init(struct dqg_context *context, struct dqg_graph *graph, int32_t nodes);
void dqg_graph_free(struct dqg_graph *graph);

/* Begin block index of the network, 0 up. False: leave it out. A builder that calls this offers guidance by perturbed
 * evaluations. */
bool dqg_graph_begin_block(struct dqg_graph *graph, size_t index);
/* Copies that live as long as the graph; NULL where there is no memory, which the graph notes. */
void *dqg_graph_keep(struct dqg_graph *graph, const void *record, size_t size);
const char *dqg_graph_name(struct dqg_graph *graph, const char *name);

/* Operators that one product may become with its branches; and what they add to a product of x, outputs [first, first +
 * count) of it, or DQG_NO_VALUE. shape: of a convolution, kept as long as the graph, else NULL. In graph_branch.c, for those two builders. */
int32_t dqg_graph_branch_nodes(const struct dqg_graph *graph);
int32_t dqg_graph_branch_of(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                            const struct dqg_conv_shape *shape, size_t first, size_t count);

/* Append an operator and the value that it makes: what all calls below come to. */
int32_t dqg_graph_append(struct dqg_graph *graph, struct dqg_node node, size_t rows, size_t columns);

/* Each returns the value it makes. name: of the operator, for taps and messages; kept by pointer. */
int32_t dqg_graph_timestep(struct dqg_graph *graph, const char *name, size_t width);
/* count numbers of a sample, times factor, each embedded like a timestep: count * width columns. */
int32_t dqg_graph_numbers(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t count,
                          double factor, size_t width);
/* The same, each number a row of its own: count rows of width for each sample. */
int32_t dqg_graph_number_rows(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t count,
                              double factor, size_t width);
/* Rows of floats: context, mask or pooled. */
int32_t dqg_graph_input(struct dqg_graph *graph, const char *name, enum dqg_graph_input input, size_t columns);
/* graph->tokens rows of a table for each sample. */
int32_t dqg_graph_tokens(struct dqg_graph *graph, const char *name, const struct dqg_weight *table);
/* x plus the row of the label; of no class: plus row classes, or x alone where the table has no such row. */
int32_t dqg_graph_label(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *table,
                        size_t classes);
/* In the order of columns of weight, which is multiplied next; NULL: by channels, which for patches of one pixel makes
 * rows of channels, what convolutions read. */
int32_t dqg_graph_patchify(struct dqg_graph *graph, const char *name, const struct dqg_weight *weight);
/* With the branches of adapters on that weight; so does dqg_graph_conv(). */
int32_t dqg_graph_linear(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                         const float *bias);
/* The same with outputs [first, first + count) of the weight. */
int32_t dqg_graph_linear_part(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_weight *weight,
                              const float *bias, size_t first, size_t count);
/*
 * From here on rows are those of the active tokens, which the evaluation lists (struct dqg_exec_io); of a graph without
 * active_tokens x itself. Call it once, when rows of x are the image's tokens and have their positions. Self-attention
 * then takes keys and values of the other tokens as they were kept by an evaluation before, and the image that rows
 * become at the end keeps the other tokens' pixels. With other rows (text) behind the image's those are never kept.
 */
int32_t dqg_graph_active(struct dqg_graph *graph, const char *name, int32_t x);
/* The shape is copied; rows of x are its pixels. addend: a value with a row for each sample, or DQG_NO_VALUE. A shape
 * that the weights or the image size do not allow fails with DQG_ERROR_RANGE. */
int32_t dqg_graph_conv(struct dqg_graph *graph, const char *name, int32_t x, const struct dqg_conv_shape *shape,
                       const struct dqg_weight *weight, const float *bias, int32_t addend, size_t addend_column);
int32_t dqg_graph_activate(struct dqg_graph *graph, const char *name, int32_t x, enum dqg_activation activation);
int32_t dqg_graph_norm(struct dqg_graph *graph, const char *name, int32_t x, int32_t modulation, size_t shift_column,
                       size_t scale_column, float epsilon);
/* Layer or RMS norm with learned weights, either of them or both. */
int32_t dqg_graph_norm_learned(struct dqg_graph *graph, const char *name, int32_t x, const float *factor,
                               const float *bias, bool rms, float epsilon);
/* Group norm of images, rows of pixels; modulation: a row for each sample, or DQG_NO_VALUE. factor, bias: learned. */
int32_t dqg_graph_group_norm(struct dqg_graph *graph, const char *name, int32_t x, size_t groups, const float *factor,
                             const float *bias, float epsilon, enum dqg_activation activation);
/* The same, times 1 + scale plus shift, columns of modulation. */
int32_t dqg_graph_group_norm_modulated(struct dqg_graph *graph, const char *name, int32_t x, size_t groups,
                                       const float *factor, const float *bias, float epsilon,
                                       enum dqg_activation activation, int32_t modulation, size_t shift_column,
                                       size_t scale_column);
/* The first half of the columns times the activation of the second. */
int32_t dqg_graph_glu(struct dqg_graph *graph, const char *name, int32_t x, enum dqg_activation activation);
/* Self-attention on rows of q, k, v one after the other. */
int32_t dqg_graph_attention(struct dqg_graph *graph, const char *name, int32_t qkv, size_t heads);

/* Attention of any queries to any keys and values, each from its column on; width columns, cut into heads. The rows of
 * a value are those of all samples; every sample has as many, of self-attention the image's tokens before any others.
 */
struct dqg_graph_attention_args {
    int32_t q, k, v;
    size_t q_column, k_column, v_column, width, heads;
    size_t head_columns; /* from one head to the next; 0: its width */
    int32_t mask;        /* (samples, keys) or DQG_NO_VALUE: added to scores, -infinity hides a key */
    const float *scores; /* [heads][queries][keys] or NULL: added to scores; in place of a mask */
    float scale;         /* of scores; 0: 1 / sqrt(width of a head) */
    bool causal;
    bool counted; /* only the first keys of each sample are there, io.lengths of them */
    /* Keys and values are the queries' own tokens, of the image: entropy depends on their number; perturbed, values
     * pass through. */
    bool self;
};
int32_t dqg_graph_attention_to(struct dqg_graph *graph, const char *name, const struct dqg_graph_attention_args *args);
/* Norm of heads and rotary embedding in packed rows of q, k, v; of form all but x, y, the index and the sizes of rows.
 * The form is copied, what it points to must live as long as the graph. Tables of angles are for all tokens and what
 * stands behind them, also in a graph of some active ones. */
int32_t dqg_graph_heads(struct dqg_graph *graph, const char *name, int32_t qkv, const struct dqg_heads *form);

/* Columns side by side; rows one after the other in each sample; rows [first, first + count) of each sample; one row of
 * each sample, which io.picks says. */
int32_t dqg_graph_concat(struct dqg_graph *graph, const char *name, int32_t a, int32_t b);
int32_t dqg_graph_join(struct dqg_graph *graph, const char *name, int32_t a, int32_t b);
int32_t dqg_graph_slice(struct dqg_graph *graph, const char *name, int32_t x, size_t first, size_t count);
int32_t dqg_graph_pick(struct dqg_graph *graph, const char *name, int32_t x);

/* An image (height, width) to another size by the nearest pixel; to half of both by averages. */
int32_t dqg_graph_resize(struct dqg_graph *graph, const char *name, int32_t x, size_t height, size_t width,
                         size_t out_height, size_t out_width);
int32_t dqg_graph_pool(struct dqg_graph *graph, const char *name, int32_t x, size_t height, size_t width);

/* Rows as output 0 or 1 of the evaluation. */
void dqg_graph_result(struct dqg_graph *graph, const char *name, int32_t x, int32_t output);

int32_t dqg_graph_add(struct dqg_graph *graph, const char *name, int32_t residual, int32_t modulation,
                      size_t gate_column, int32_t x);
int32_t dqg_graph_add_table(struct dqg_graph *graph, const char *name, int32_t x, const float *table);
void dqg_graph_unpatchify(struct dqg_graph *graph, const char *name, int32_t x);
/* The same of rows in the order (channel, row, column of the patch): what FLUX calls unpacking. */
void dqg_graph_unpack(struct dqg_graph *graph, const char *name, int32_t x);

/* Declare a block or branch, once it is built. */
void dqg_graph_block(struct dqg_graph *graph, int32_t enter, int32_t leave, int32_t input);
void dqg_graph_branch(struct dqg_graph *graph, int32_t enter, int32_t leave);

/* sqrt(ln keys / ln train_keys), at least 2 of each: what attention scores are multiplied by, so that attention to
 * more or fewer keys than in training stays as sharp (arXiv 2306.08645). */
double dqg_entropy_scale(size_t keys, size_t train_keys);

/* Keys that a query of an attention sees. */
size_t dqg_graph_keys(const struct dqg_graph *graph, const struct dqg_node *node);

/* ---- passes ---- */

dqg_status dqg_graph_fuse(struct dqg_graph *graph);
dqg_status dqg_graph_plan(struct dqg_graph *graph);

/* Steady operators to the front; false where there is no memory. */
bool dqg_graph_sort_steady(struct dqg_graph *graph);

#endif
