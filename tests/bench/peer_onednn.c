/* SPDX-License-Identifier: MIT */
/*
 * Times matrix products and convolutions of oneDNN (interface of 2.x): peer_onednn int8|f32 < shapes. Threads: the
 * environment variable OMP_NUM_THREADS. int8 is what the library does best: unsigned activations, signed weights packed
 * beforehand in the layout it asks for, a scale for each output, bias, float results.
 */
#include <dnnl.h>

#include "peer.h"

static void check(dnnl_status_t status, const char *what) {
    if (status != dnnl_success) {
        fprintf(stderr, "oneDNN: %s: status %d\n", what, (int)status);
        exit(1);
    }
}
#define CHECK(call) check(call, #call)

struct setup {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_data_type_t input, weights; /* types of elements */
};

/* A primitive with its arguments: source, weights, bias, result. */
struct job {
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[4];
};

static void call(void *user) {
    struct job *job = user;
    CHECK(dnnl_primitive_execute(job->primitive, job->stream, 4, job->args));
    CHECK(dnnl_stream_wait(job->stream));
}

static dnnl_memory_desc_t describe(int rank, const dnnl_dim_t *dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t desc;
    CHECK(dnnl_memory_desc_init_by_tag(&desc, rank, dims, type, tag));
    return desc;
}

/* Memory of the described layout with random contents: any bytes are numbers of the 8-bit types. */
static dnnl_memory_t make_memory(const struct setup *setup, const dnnl_memory_desc_t *desc) {
    dnnl_memory_t memory;
    size_t bytes = dnnl_memory_desc_get_size(desc);
    void *data = desc->data_type == dnnl_f32 ? (void *)peer_floats(bytes / 4 + 1) : peer_bytes(bytes, -127);
    CHECK(dnnl_memory_create(&memory, desc, setup->engine, data));
    return memory;
}

static const dnnl_memory_desc_t *layout(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

/* Build the primitive of an operation descriptor, run it, give everything back. */
static void run(const struct setup *setup, const char *name, const struct peer_shape *shape, const void *op,
                int64_t outputs, int output_dim, const dnnl_memory_desc_t *bias) {
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
    struct job job = {.stream = setup->stream};
    CHECK(dnnl_primitive_attr_create(&attr));
    if (setup->input != dnnl_f32) {
        float *scales = peer_floats((size_t)outputs);
        CHECK(dnnl_primitive_attr_set_output_scales(attr, outputs, 1 << output_dim, scales));
        free(scales);
    }
    CHECK(dnnl_primitive_desc_create(&pd, op, attr, setup->engine, NULL));
    CHECK(dnnl_primitive_create(&job.primitive, pd));
    dnnl_memory_t memories[4] = {make_memory(setup, layout(pd, dnnl_query_src_md)),
                                 make_memory(setup, layout(pd, dnnl_query_weights_md)), make_memory(setup, bias),
                                 make_memory(setup, layout(pd, dnnl_query_dst_md))};
    const int names[4] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
    for (int i = 0; i < 4; i++) {
        job.args[i].arg = names[i];
        job.args[i].memory = memories[i];
    }
    peer_time(name, shape, call, &job);
    for (int i = 0; i < 4; i++) {
        void *data;
        CHECK(dnnl_memory_get_data_handle(memories[i], &data));
        dnnl_memory_destroy(memories[i]);
        free(data);
    }
    dnnl_primitive_destroy(job.primitive);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
}

static void run_matmul(const struct setup *setup, const char *name, const struct peer_shape *shape) {
    dnnl_matmul_desc_t op;
    dnnl_memory_desc_t src = describe(2, (dnnl_dims_t){shape->m, shape->k}, setup->input, dnnl_ab);
    dnnl_memory_desc_t weights = describe(2, (dnnl_dims_t){shape->k, shape->n}, setup->weights, dnnl_format_tag_any);
    dnnl_memory_desc_t bias = describe(2, (dnnl_dims_t){1, shape->n}, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_t dst = describe(2, (dnnl_dims_t){shape->m, shape->n}, dnnl_f32, dnnl_ab);
    CHECK(dnnl_matmul_desc_init(&op, &src, &weights, &bias, &dst));
    run(setup, name, shape, &op, shape->n, 1, &bias);
}

static void run_conv(const struct setup *setup, const char *name, const struct peer_shape *shape) {
    /* int8: pixels with their channels together, as networks of this kind pass them on; floats: what it likes best */
    dnnl_format_tag_t tag = setup->input == dnnl_f32 ? dnnl_format_tag_any : dnnl_nhwc;
    int64_t s = shape->stride, pad = shape->kernel / 2;
    int64_t in_height = shape->height * s, in_width = shape->width * s;
    int64_t end = s > 1 ? pad - (s - 1) : pad; /* even sizes: the last window ends inside */
    dnnl_convolution_desc_t op;
    dnnl_memory_desc_t src =
        describe(4, (dnnl_dims_t){shape->samples, shape->inputs, in_height, in_width}, setup->input, tag);
    dnnl_memory_desc_t weights = describe(4, (dnnl_dims_t){shape->outputs, shape->inputs, shape->kernel, shape->kernel},
                                          setup->weights, dnnl_format_tag_any);
    dnnl_memory_desc_t bias = describe(1, (dnnl_dims_t){shape->outputs}, dnnl_f32, dnnl_a);
    dnnl_memory_desc_t dst =
        describe(4, (dnnl_dims_t){shape->samples, shape->outputs, shape->height, shape->width}, dnnl_f32, tag);
    CHECK(dnnl_convolution_forward_desc_init(&op, dnnl_forward_inference, dnnl_convolution_direct, &src, &weights,
                                             &bias, &dst, (dnnl_dims_t){s, s}, (dnnl_dims_t){pad, pad},
                                             (dnnl_dims_t){end, end}));
    run(setup, name, shape, &op, shape->outputs, 1, &bias);
}

int main(int argc, char **argv) {
    if (argc != 2 || (strcmp(argv[1], "int8") != 0 && strcmp(argv[1], "f32") != 0)) {
        fprintf(stderr, "usage: %s int8|f32 < shapes\n", argv[0]);
        return 2;
    }
    int integer = strcmp(argv[1], "int8") == 0;
    struct setup setup = {.input = integer ? dnnl_u8 : dnnl_f32, .weights = integer ? dnnl_s8 : dnnl_f32};
    CHECK(dnnl_engine_create(&setup.engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&setup.stream, setup.engine, dnnl_stream_default_flags));
    char name[32];
    struct peer_shape shape;
    snprintf(name, sizeof(name), "oneDNN %s", argv[1]);
    while (peer_next(&shape)) {
        if (shape.kernel > 0) {
            run_conv(&setup, name, &shape);
        } else {
            run_matmul(&setup, name, &shape);
        }
    }
    dnnl_stream_destroy(setup.stream);
    dnnl_engine_destroy(setup.engine);
    return 0;
}
