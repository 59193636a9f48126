/* SPDX-License-Identifier: MIT */
/* Layer 4: a loaded model, the families of networks, and what the layers above ask of them. */
#ifndef DQG_MODEL_H
#define DQG_MODEL_H

#include "io/io.h"
#include "model/exec.h"
#include "model/graph.h"

enum { DQG_IMAGE_NONE = 0, DQG_IMAGE_STRAIGHT = 1, DQG_IMAGE_PREMULTIPLIED = 2 };

/* Hyper-parameters; a family fills what it uses. */
struct dqg_hyper {
    size_t hidden, depth, heads, mlp, patch;
    size_t middle; /* block that perturbed evaluations change unless others are named; 0: half of depth */
    size_t channels, out_channels, height, width; /* the model's own latent */
    size_t classes;                               /* without the null label */
    size_t frequencies;                           /* width of the timestep embedding */
    double timestep_scale;
    size_t vocabulary;     /* of a text encoder, else 0 */
    size_t attention;      /* width of all its heads together */
    size_t head_width;     /* of attention that has as many heads as its channels give, else 0 */
    bool heads_first;      /* rows of qkv are those of the heads, one after the other */
    size_t positions;      /* most tokens of a prompt; 0: any number */
    size_t projection;     /* columns of its pooled row after the projection, or 0 */
    enum dqg_activation activation;
    /* Of autoencoders: sides of a picture to those of its latent; channels of what encoding hands on at that size, 0
     * without an encoder; the largest value that a latent may approach, 0 for any; pictures are -1..1, else 0..1; so
     * are samples of a denoiser of pictures. */
    size_t reduction, encoded;
    double latent_limit;
    bool signed_picture;
    size_t axes[3]; /* columns of a head that turn with each part of a token's position; 0: none */
    /* What a denoiser is given beside x and the time; 0: it takes none. */
    size_t context_width;  /* columns of the context's rows */
    size_t context_tokens; /* rows of it in published use */
    size_t pooled_width;   /* of the pooled row */
    size_t size_count;     /* numbers that say sizes */
    size_t extra_channels; /* of x, behind the latent's */
    size_t control_channels; /* of the picture that its control network sees */
    size_t control_times;    /* sides of that to the latent's */
    bool masked;           /* the context has a mask */
    bool guided;           /* the guidance scale is an input */
    bool shift_by_size;    /* a flow whose shift follows the number of tokens */
    const char *const (*scheduler)[2]; /* how it was trained, as options of schedulers and their values, NULL at the
                                          end; or NULL */
    double latent_scale, latent_shift; /* of its latents, see dqg_picture_spec; scale 0: not known */
    double position_step; /* between neighbouring tokens at the model's own size, where tables are computed */
};

struct dqg_token_name;
struct dqg_family;
struct dqg_tokenizer;

enum { DQG_COMPONENTS = 8 /* networks of one file */ };

struct dqg_model {
    _Atomic int32_t references;
    struct dqg_alloc alloc;
    struct dqg_arena arena; /* names, metadata, class names */
    const struct dqg_family *family;
    struct dqg_hyper hyper;
    struct dqg_weight *weights;
    int32_t *stored_dtype; /* [weight_count]: in the file; vectors are F32 in memory */
    size_t weight_count;
    struct dqg_metadata *metadata;
    size_t metadata_count;
    const char **class_names;
    size_t class_name_count;
    int32_t image_layout; /* DQG_IMAGE_* */
    uint64_t parameters;
    uint64_t weight_bytes;
    int32_t operators; /* of one evaluation at the model's own size */
    char role[16];
    struct dqg_model *parts[DQG_COMPONENTS]; /* the other networks of its file, owned */
    size_t part_count;
    struct dqg_graph_additions additions; /* by adapters */
    struct dqg_token_name *token_names;   /* of the tokens among them: what prompts call them */
    size_t token_name_count;
    struct dqg_adapted *adapted; /* what it borrows, or NULL; see adapter.h */
    struct dqg_tokenizer *tokenizer; /* of a text encoder, owned; or NULL */
    bool described;                  /* weights have no planes, but vectors are zeros */
    const char *path;                /* where a described model is read from when it is used, or NULL */
    uint64_t memory_limit;           /* of that */
    uint64_t reading_bytes;          /* while it is read, beside its weights */
    void *zeros;
    size_t zero_bytes;
    struct dqg_model *lender;  /* of all but the handle, kept alive; NULL: everything is its own */
    struct dqg_model *control; /* network that was attached, kept alive; or NULL */
};

/* What a tensor of a checkpoint is to a family. */
struct dqg_rename {
    char name[256];     /* as the family calls it */
    size_t part, parts; /* rows of it, one after the other: part of parts, 0 of 1 for all of it */
    bool swapped;       /* the halves of its rows stand in the other order */
    bool transposed;
    bool flat; /* (outputs, inputs, 1, 1) or (outputs, inputs, 1) is a matrix here */
};

/* A family of networks: one file, one line in family_list.inc. */
struct dqg_family {
    const char *name;
    const char *role;   /* of such a network in a model of several: "denoiser", "vae", "clip", "t5" */
    bool controlled;    /* builds a control network along */
    const char *marker; /* a tensor that every one has, in the family's own names; NULL: there is none */
    /* Do tensors with these names, the family's own, make one? */
    bool (*detect)(const struct dqg_source *source);
    /* The family's own name of a tensor that others call name; false where it has none. NULL: nobody calls them
     * otherwise. to is zeroed but for parts, which is 1. */
    bool (*rename)(const char *name, struct dqg_rename *to);
    /* In its place, of a family where other names say what a name means: source has them, behind prefix. */
    bool (*rename_in)(const struct dqg_source *source, const char *prefix, const char *name, struct dqg_rename *to);
    /* The same for a weight of a loaded model, where names depend on its sizes: what adapters call it. NULL: rename. */
    bool (*rename_loaded)(const struct dqg_model *model, const char *name, struct dqg_rename *to);
    /* Read the hyper-parameters, check every tensor's shape. */
    dqg_status (*configure)(struct dqg_context *context, struct dqg_model *model);
    /* Emit the operators; graph->samples, height and width are set. */
    dqg_status (*build)(const struct dqg_model *model, struct dqg_graph *graph);
    /* Which matrices stay at more than 4 bits: pattern, format pairs, NULL at the end; see dqg_quantizer_add_rule().
     * Where the format is ":64" the groups of the usual one are not smaller. */
    const char *const (*rules)[2];
};

extern const struct dqg_family *const dqg_families[];
extern const size_t dqg_family_count;

/* ---- checkpoints: checkpoint.c ---- */

/* A network in a file of tensors. */
struct dqg_component {
    const struct dqg_family *family;
    char role[16]; /* the family's, with a number where there are several: "clip", "clip_2" */
    const char *prefix; /* what the file has in front of its names; static */
};

/*
 * Which networks a file holds, and the file under their own names: canonical shows tensors as families call them, those
 * of several networks with "<role>/" in front; other tensors are left out. source must outlive it. Fails with
 * DQG_ERROR_UNSUPPORTED where there is no known network.
 */
struct dqg_checkpoint {
    const struct dqg_source *file;
    struct dqg_source canonical;
    struct dqg_component components[DQG_COMPONENTS];
    size_t count;
};
dqg_status dqg_checkpoint_open(struct dqg_context *context, struct dqg_source *source,
                               struct dqg_checkpoint *checkpoint);

/* The denoiser, or the first network where there is none: it stands for the file. */
size_t dqg_checkpoint_first(const struct dqg_checkpoint *checkpoint);

/* The tensors of one of its networks, and the metadata "<role>/<key>", both without the role, before metadata without a
 * role; the first network sees all metadata. checkpoint must outlive view. */
dqg_status dqg_checkpoint_component(struct dqg_context *context, struct dqg_checkpoint *checkpoint, size_t index,
                                    struct dqg_source *view);

/* The family of a tensor of canonical; *name loses the role. */
const struct dqg_family *dqg_checkpoint_family(const struct dqg_checkpoint *checkpoint, const char **name);
void dqg_checkpoint_close(struct dqg_checkpoint *checkpoint);

/* ---- loading ---- */

/* What option and metadata 'variant' may say, where a file does not tell which of several published networks it is. */
extern const char dqg_variant_names[];

/* memory_limit: most bytes of weights, or 0. variant: in place of the metadata's, or NULL. The source stays open. */
dqg_status dqg_model_open(struct dqg_context *context, struct dqg_source *source, uint64_t memory_limit,
                          const char *variant, struct dqg_model **model);

/* Read the weights and metadata of a network whose family is known, and find out all the rest. Called by open.c. */
dqg_status dqg_model_fill(struct dqg_context *context, struct dqg_source *source, uint64_t limit,
                          struct dqg_model *model);

/* The network of the same role, with weights; *own stays as it is where there is none. Called by held.c. */
dqg_status dqg_model_open_again(struct dqg_context *context, const struct dqg_model *model, struct dqg_source *source,
                                struct dqg_model **own);

/* The same without weights, which dqg_model_hold() reads from path; memory_limit is that of each network. */
dqg_status dqg_model_describe(struct dqg_context *context, struct dqg_checkpoint *checkpoint, const char *path,
                              uint64_t memory_limit, const char *variant, struct dqg_model **model);

/*
 * A network to be used: itself, or where it is only described, one that is read from its file and given up by
 * dqg_model_let_go(). Fails where the file has changed. Any threads with contexts of their own.
 */
struct dqg_held {
    const struct dqg_model *network;
    struct dqg_model *own; /* NULL: borrowed */
};
dqg_status dqg_model_hold(struct dqg_context *context, const struct dqg_model *model, struct dqg_held *held);
void dqg_model_let_go(struct dqg_held *held);
void dqg_model_free(struct dqg_model *model);

/* References; the last one frees. release takes NULL. */
void dqg_model_retain_(struct dqg_model *model);
void dqg_model_release_(struct dqg_model *model);

/* Bytes of a loaded model with all that it holds; and the most there are beside it while something of that many bytes
 * uses one network, which is read for it where it is only described. */
uint64_t dqg_model_loaded_bytes(const struct dqg_model *model);
uint64_t dqg_model_use_bytes(const struct dqg_model *model, uint64_t bytes);

/* ---- for families ---- */

/* printf-like names are made in the arena. NULL where a tensor is missing. */
const struct dqg_weight *dqg_model_find(const struct dqg_model *model, const char *name);

/* A matrix or vector of exactly this size; fails with a message that names it. columns 0: a vector of rows elements. */
dqg_status dqg_model_need(struct dqg_context *context, const struct dqg_model *model, const char *name, size_t rows,
                          size_t columns);

/* The value of a metadata key, or NULL. Add one, copied. */
const char *dqg_model_find_metadata(const struct dqg_model *model, const char *key);
dqg_status dqg_model_add_metadata(struct dqg_context *context, struct dqg_model *model, const char *key,
                                  const char *value);

/* An integer of the metadata, or fallback where it is absent; 0 where it is no number of 1..2^20. */
size_t dqg_model_metadata_size(const struct dqg_model *model, const char *key, size_t fallback);

/* ---- evaluation ---- */

/* The autoencoder that a model is or holds, of several the large one, or NULL. */
const struct dqg_model *dqg_model_autoencoder(const struct dqg_model *model);

/* Its control network: the one that was attached, else the one of its file; or NULL. */
const struct dqg_model *dqg_model_control(const struct dqg_model *model);

/* Check that it fits, where there is one, and say in hyper what it takes. */
dqg_status dqg_model_join_control(struct dqg_context *context, struct dqg_model *model);

/* A model with a control network: a handle that borrows all of model and keeps both alive. */
dqg_status dqg_model_attach_control_(struct dqg_context *context, struct dqg_model *model, struct dqg_model *control,
                                     struct dqg_model **joined);

/* Fails where the model is no denoiser, which takes a sample and a time. */
dqg_status dqg_model_need_denoiser(struct dqg_context *context, const struct dqg_model *model);

/* Build, fuse and plan the graph. */
dqg_status dqg_model_graph(struct dqg_context *context, const struct dqg_model *model,
                           const struct dqg_graph_config *config, struct dqg_graph *graph);

#endif
