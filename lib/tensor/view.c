/* SPDX-License-Identifier: MIT */
/* Tensor views at the library's border: any strides and float type outside, contiguous F32 inside. */
#include "tensor/view.h"
#include "tensor/format.h"
#include "tensor/half.h"

static void format_shape(char *buffer, size_t size, int32_t rank, const int64_t *shape) {
    size_t length = dqg_format(buffer, size, "(");
    for (int32_t i = 0; i < rank && length < size; i++) {
        length += dqg_format(buffer + length, size - length, i > 0 ? ", %lld" : "%lld", (long long)shape[i]);
    }
    if (length < size) {
        dqg_format(buffer + length, size - length, ")");
    }
}

dqg_status dqg_view_check(struct dqg_context *context, const dqg_tensor_view *view, const char *name, int32_t rank,
                          const int64_t *shape) {
    if (view == NULL || view->struct_size < sizeof *view || view->flags != 0) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: not a tensor view (use DQG_INIT, then fill it in)", name);
    }
    if (view->data == NULL) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: the view has no data", name);
    }
    if (!dqg_dtype_is_float(view->dtype)) {
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: dtype %d is not F32, F16 or BF16", name, (int)view->dtype);
    }
    bool same = view->rank == rank;
    for (int32_t i = 0; same && i < rank; i++) {
        same = view->shape[i] == shape[i];
    }
    if (!same) {
        char wanted[160];
        char given[160];
        format_shape(wanted, sizeof wanted, rank, shape);
        if (view->rank < 0 || view->rank > DQG_MAX_RANK) {
            dqg_format(given, sizeof given, "of rank %d", (int)view->rank);
        } else {
            format_shape(given, sizeof given, view->rank, view->shape);
        }
        return dqg_fail(context, DQG_ERROR_ARGUMENT, "%s: the shape is %s, wanted is %s", name, given, wanted);
    }
    return DQG_OK;
}

/* Byte strides in force: the view's own, or contiguous ones where all are zero. */
static void view_strides(const dqg_tensor_view *view, int64_t strides[DQG_MAX_RANK]) {
    bool contiguous = true;
    for (int32_t i = 0; i < view->rank; i++) {
        contiguous = contiguous && view->strides[i] == 0;
    }
    int64_t step = (int64_t)dqg_dtype_size(view->dtype);
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        strides[i] = contiguous ? step : view->strides[i];
        step *= view->shape[i];
    }
}

dqg_tensor_view dqg_view_slice(const dqg_tensor_view *view, int32_t axis, int64_t first, int64_t count) {
    dqg_tensor_view slice = *view;
    view_strides(view, slice.strides);
    slice.data = (char *)view->data + first * slice.strides[axis];
    slice.shape[axis] = count;
    return slice;
}

static float load_element(const char *at, int32_t dtype) {
    uint16_t half;
    float value;
    if (dtype == DQG_DTYPE_F32) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&half, at, sizeof half);
    return dtype == DQG_DTYPE_F16 ? dqg_f16_to_f32(half) : dqg_bf16_to_f32(half);
}

static void store_element(char *at, int32_t dtype, float value) {
    if (dtype == DQG_DTYPE_F32) {
        memcpy(at, &value, sizeof value);
        return;
    }
    uint16_t half = dtype == DQG_DTYPE_F16 ? dqg_f32_to_f16(value) : dqg_f32_to_bf16(value);
    memcpy(at, &half, sizeof half);
}

/* Are the elements next to each other, as they are inside? */
static bool is_plain(const dqg_tensor_view *view, const int64_t strides[DQG_MAX_RANK]) {
    int64_t step = (int64_t)sizeof(float);
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        if (strides[i] != step) {
            return false;
        }
        step *= view->shape[i];
    }
    return view->dtype == DQG_DTYPE_F32;
}

/* Visit the elements in row-major order; in is NULL when reading to out. */
static void copy_elements(const dqg_tensor_view *view, float *out, const float *in) {
    int64_t strides[DQG_MAX_RANK];
    int64_t index[DQG_MAX_RANK] = {0};
    uint64_t count;
    if (!dqg_shape_count(view->rank, view->shape, &count)) {
        return; /* cannot happen: the shape was checked */
    }
    view_strides(view, strides);
    if (is_plain(view, strides)) {
        memmove(in != NULL ? view->data : out, in != NULL ? (const void *)in : view->data, count * sizeof(float));
        return;
    }
    char *at = view->data;
    for (uint64_t i = 0; i < count; i++) {
        if (in != NULL) {
            store_element(at, view->dtype, in[i]);
        } else {
            out[i] = load_element(at, view->dtype);
        }
        for (int32_t d = view->rank - 1; d >= 0; d--) {
            at += strides[d];
            if (++index[d] < view->shape[d]) {
                break;
            }
            at -= strides[d] * view->shape[d];
            index[d] = 0;
        }
    }
}

void dqg_view_read(const dqg_tensor_view *view, float *out) {
    copy_elements(view, out, NULL);
}

void dqg_view_write(const dqg_tensor_view *view, const float *in) {
    copy_elements(view, NULL, in);
}
