/* SPDX-License-Identifier: MIT */
/* Checks of epilogue_i32_f32 and epilogue_f32_f32: one set of cases, with integer or float accumulators. */
#include <math.h>
#include <stdlib.h>

#include "check.h"

struct shape {
    size_t rows, columns, ldc, ld_out, ld_residual, ld_addend;
    size_t glu_block, glu_offset; /* the gate part lies behind, or before where glu_backwards is set */
    int integer, with_bias, with_addend, with_gate, with_residual, in_place, glu_backwards;
    enum dqg_activation activation;
};

/* Columns of the accumulators, and of the arrays that go with them. */
static size_t block_columns(const struct shape *s) {
    return s->glu_block + s->columns;
}

static size_t wide_columns(const struct shape *s) {
    return s->glu_offset + s->columns;
}

/* Where the value part begins in those arrays. */
static size_t value_column(const struct shape *s) {
    return s->glu_backwards ? s->glu_offset : 0;
}

struct inputs {
    struct buffer c, row_scale, column_scale, bias, addend, gate, residual, out;
};

static void fill_accumulators(struct buffer *c, int integer) {
    if (!integer) {
        fill_floats(c->data, c->size / 4);
        return;
    }
    for (size_t i = 0; i < c->size / 4; i++) {
        int32_t v = (int32_t)random_bits();
        ((int32_t *)c->data)[i] = random_below(8) ? v >> 12 : v == INT32_MIN ? 0 : v;
    }
}

static struct inputs make_inputs(const struct shape *s) {
    size_t wide = wide_columns(s);
    struct inputs in = {.c = buffer_make(s->rows, block_columns(s), s->ldc, 4),
                        .row_scale = buffer_make(1, s->rows, 0, 4),
                        .column_scale = buffer_make(1, wide, 0, 4),
                        .bias = buffer_make(1, wide, 0, 4),
                        .addend = buffer_make(s->rows, wide, s->ld_addend, 4),
                        .gate = buffer_make(1, s->columns, 0, 4),
                        .residual = buffer_make(s->rows, s->columns, s->ld_residual, 4),
                        .out = buffer_make(s->rows, s->columns, s->ld_out, 4)};
    fill_accumulators(&in.c, s->integer);
    fill_floats(in.bias.data, wide);
    fill_floats(in.gate.data, s->columns);
    for (size_t m = 0; m < s->rows; m++) {
        ((float *)in.row_scale.data)[m] = fabsf(random_unit()) * 0.1f;
        fill_floats((float *)in.residual.data + m * s->ld_residual, s->columns);
        fill_floats((float *)in.addend.data + m * s->ld_addend, wide);
    }
    for (size_t n = 0; n < wide; n++) {
        ((float *)in.column_scale.data)[n] = fabsf(random_unit()) * 1e-3f;
    }
    return in;
}

/* Before the activation: column n of the accumulators, column at of the other arrays. size: of what is summed. */
static double double_scaled(double *size, const struct shape *s, const struct inputs *in, size_t m, size_t n,
                            size_t at) {
    double z = s->integer ? (double)((int32_t *)in->c.data)[m * s->ldc + n] * ((float *)in->row_scale.data)[m] *
                                ((float *)in->column_scale.data)[at]
                          : (double)((float *)in->c.data)[m * s->ldc + n];
    double bias = s->with_bias ? ((float *)in->bias.data)[at] : 0.0;
    double addend = s->with_addend ? ((float *)in->addend.data)[m * s->ld_addend + at] : 0.0;
    *size = fabs(z) + fabs(bias) + fabs(addend);
    return z + bias + addend;
}

static void double_epilogue(double *want, double *norm, const struct shape *s, const struct inputs *in) {
    for (size_t i = 0; i < s->rows * s->columns; i++) {
        size_t m = i / s->columns, n = i % s->columns;
        double size, value_size, value;
        size_t at = value_column(s) + n;
        size_t gate_at = s->glu_backwards ? n : n + s->glu_offset;
        double y = double_scaled(&size, s, in, m, n + s->glu_block, s->glu_block ? gate_at : at);
        y = double_activation(y, s->activation);
        if (s->glu_block) {
            value = double_scaled(&value_size, s, in, m, n, at);
            size *= value_size;
            y *= value;
        }
        if (s->with_residual) {
            double gate = s->with_gate ? ((float *)in->gate.data)[n] : 1.0;
            double residual = ((float *)in->residual.data)[m * s->ld_residual + n];
            y = residual + gate * y;
            size = size * fabs(gate) + fabs(residual);
        }
        want[i] = y;
        norm[i] = size;
    }
}

static void epilogue_case(const struct check *check, const struct shape *s) {
    check_case("epilogue_%s_f32 %s: rows %zu columns %zu ldc %zu ld_out %zu ld_residual %zu bias %d addend %d gate %d "
               "residual %d in place %d activation %d glu %zu %zu backwards %d",
               s->integer ? "i32" : "f32", check->tested->name, s->rows, s->columns, s->ldc, s->ld_out, s->ld_residual,
               s->with_bias, s->with_addend, s->with_gate, s->with_residual, s->in_place, (int)s->activation,
               s->glu_block, s->glu_offset, s->glu_backwards);
    struct inputs in = make_inputs(s);
    double *want = malloc(s->rows * s->columns * sizeof *want), *norm = malloc(s->rows * s->columns * sizeof *norm);
    double_epilogue(want, norm, s, &in);
    if (s->in_place) {
        buffer_copy(&in.out, &in.residual);
    }
    size_t at = value_column(s);
    ptrdiff_t glu_offset = (ptrdiff_t)s->glu_offset;
    struct dqg_epilogue epilogue = {.row_scale = s->integer ? in.row_scale.data : NULL,
                                    .column_scale = s->integer ? (float *)in.column_scale.data + at : NULL,
                                    .bias = s->with_bias ? (float *)in.bias.data + at : NULL,
                                    .addend = s->with_addend ? (float *)in.addend.data + at : NULL,
                                    .ld_addend = s->ld_addend,
                                    .glu_block = s->glu_block,
                                    .glu_offset = s->glu_backwards ? -glu_offset : glu_offset,
                                    .gate = s->with_gate ? in.gate.data : NULL,
                                    .ld_residual = s->ld_residual,
                                    .activation = s->activation};
    if (s->with_residual) {
        epilogue.residual = s->in_place ? in.out.data : in.residual.data;
    }
    if (s->integer) {
        check->tested->epilogue_i32_f32(in.out.data, s->ld_out, in.c.data, s->ldc, s->rows, s->columns, &epilogue);
    } else {
        check->tested->epilogue_f32_f32(in.out.data, s->ld_out, in.c.data, s->ldc, s->rows, s->columns, &epilogue);
    }
    check_close(in.out.data, s->ld_out, want, norm, s->rows, s->columns, check->tolerance);
    check_gaps(&in.out, s->rows, s->columns, s->ld_out, 4);
    free(want);
    free(norm);
    struct buffer *all[] = {&in.c,      &in.row_scale, &in.column_scale, &in.bias,
                            &in.addend, &in.gate,      &in.residual,     &in.out};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_free(all[i]);
    }
}

static void epilogue_cases(const struct check *check, int integer) {
    for (size_t i = 0; i < check->cases * 4; i++) {
        struct shape s = {
            .rows = 1 + random_below(6), .columns = 1 + random_below(DQG_BLOCK_COLUMNS), .integer = integer};
        s.columns = random_below(3) ? s.columns : DQG_BLOCK_COLUMNS;
        if (random_below(3) == 0) {
            s.glu_block = DQG_BLOCK_COLUMNS / 2 + random_below(2) * DQG_PANEL;
            s.columns = 1 + random_below(DQG_BLOCK_COLUMNS - s.glu_block);
            s.columns = random_below(3) ? s.columns : DQG_BLOCK_COLUMNS - s.glu_block;
            s.glu_offset = s.columns + random_below(2) * 40;
            s.glu_backwards = (int)random_below(2);
        }
        s.ldc = block_columns(&s) + random_below(2) * 3;
        s.ld_addend = wide_columns(&s) + random_below(2) * 7;
        s.ld_residual = s.columns + random_below(2) * 4;
        s.with_bias = (int)random_below(2);
        s.with_addend = random_below(4) == 0;
        s.with_residual = (int)random_below(2);
        s.with_gate = (int)random_below(2);
        s.in_place = s.with_residual && random_below(2);
        s.ld_out = s.in_place ? s.ld_residual : s.columns + random_below(2) * 5;
        s.activation = (enum dqg_activation)random_below(DQG_ACT_COUNT);
        epilogue_case(check, &s);
    }
}

void check_epilogue_i32_f32(const struct check *check) {
    epilogue_cases(check, 1);
}

void check_epilogue_f32_f32(const struct check *check) {
    epilogue_cases(check, 0);
}
