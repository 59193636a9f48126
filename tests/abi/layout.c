/* SPDX-License-Identifier: MIT */
/*
 * Sizes, offsets and values that programs were compiled with: none may ever change. New members come at the end of a
 * record and only its RECORD line here grows; new constants get new values. Offsets are those of 64-bit targets.
 */
#include <stddef.h>

#include "libdqgen.h"

#define RECORD(type, size) _Static_assert(sizeof(type) == (size), "size of " #type)
#define MEMBER(type, member, offset) _Static_assert(offsetof(type, member) == (offset), "offset of " #type "." #member)
#define CONSTANT(name, value) _Static_assert((name) == (value), "value of " #name)

#if UINTPTR_MAX == UINT64_MAX
RECORD(dqg_tensor_view, 152);
MEMBER(dqg_tensor_view, struct_size, 0);
MEMBER(dqg_tensor_view, flags, 4);
MEMBER(dqg_tensor_view, data, 8);
MEMBER(dqg_tensor_view, dtype, 16);
MEMBER(dqg_tensor_view, rank, 20);
MEMBER(dqg_tensor_view, shape, 24);
MEMBER(dqg_tensor_view, strides, 88);

RECORD(dqg_image_view, 48);
MEMBER(dqg_image_view, struct_size, 0);
MEMBER(dqg_image_view, flags, 4);
MEMBER(dqg_image_view, data, 8);
MEMBER(dqg_image_view, row_stride, 16);
MEMBER(dqg_image_view, width, 24);
MEMBER(dqg_image_view, height, 28);
MEMBER(dqg_image_view, channels, 32);
MEMBER(dqg_image_view, dtype, 36);
MEMBER(dqg_image_view, alpha, 40);
MEMBER(dqg_image_view, reserved, 44);

RECORD(dqg_allocator, 32);
MEMBER(dqg_allocator, struct_size, 0);
MEMBER(dqg_allocator, flags, 4);
MEMBER(dqg_allocator, allocate, 8);
MEMBER(dqg_allocator, release, 16);
MEMBER(dqg_allocator, user, 24);

RECORD(dqg_progress, 48);
MEMBER(dqg_progress, struct_size, 0);
MEMBER(dqg_progress, phase, 4);
MEMBER(dqg_progress, done, 8);
MEMBER(dqg_progress, total, 16);
MEMBER(dqg_progress, elapsed_us, 24);
MEMBER(dqg_progress, remaining_us, 32);
MEMBER(dqg_progress, name, 40);

RECORD(dqg_reader, 32);
MEMBER(dqg_reader, struct_size, 0);
MEMBER(dqg_reader, flags, 4);
MEMBER(dqg_reader, size, 8);
MEMBER(dqg_reader, read, 16);
MEMBER(dqg_reader, user, 24);

RECORD(dqg_option_info, 72);
MEMBER(dqg_option_info, struct_size, 0);
MEMBER(dqg_option_info, key, 4);
MEMBER(dqg_option_info, kind, 8);
MEMBER(dqg_option_info, type, 12);
MEMBER(dqg_option_info, name, 16);
MEMBER(dqg_option_info, choices, 24);
MEMBER(dqg_option_info, help, 32);
MEMBER(dqg_option_info, minimum, 40);
MEMBER(dqg_option_info, maximum, 48);
MEMBER(dqg_option_info, default_value, 56);
MEMBER(dqg_option_info, default_text, 64);

RECORD(dqg_model_info, 88);
MEMBER(dqg_model_info, struct_size, 0);
MEMBER(dqg_model_info, channels, 4);
MEMBER(dqg_model_info, height, 8);
MEMBER(dqg_model_info, width, 12);
MEMBER(dqg_model_info, classes, 16);
MEMBER(dqg_model_info, patch_size, 20);
MEMBER(dqg_model_info, layers, 24);
MEMBER(dqg_model_info, operators, 28);
MEMBER(dqg_model_info, parameters, 32);
MEMBER(dqg_model_info, weight_bytes, 40);
MEMBER(dqg_model_info, family, 48);
MEMBER(dqg_model_info, reduction, 56);
MEMBER(dqg_model_info, reserved, 60);
MEMBER(dqg_model_info, flags, 64);
MEMBER(dqg_model_info, context_columns, 68);
MEMBER(dqg_model_info, context_tokens, 72);
MEMBER(dqg_model_info, pooled_columns, 76);
MEMBER(dqg_model_info, sizes, 80);
MEMBER(dqg_model_info, extra_channels, 84);

RECORD(dqg_inputs, 80);
MEMBER(dqg_inputs, struct_size, 0);
MEMBER(dqg_inputs, flags, 4);
MEMBER(dqg_inputs, labels, 8);
MEMBER(dqg_inputs, guidance, 16);
MEMBER(dqg_inputs, sizes, 24);
MEMBER(dqg_inputs, context, 32);
MEMBER(dqg_inputs, mask, 40);
MEMBER(dqg_inputs, pooled, 48);
MEMBER(dqg_inputs, extra, 56);
MEMBER(dqg_inputs, control, 64);
MEMBER(dqg_inputs, control_scale, 72);

RECORD(dqg_picture_spec, 40);
MEMBER(dqg_picture_spec, struct_size, 0);
MEMBER(dqg_picture_spec, flags, 4);
MEMBER(dqg_picture_spec, scale, 8);
MEMBER(dqg_picture_spec, shift, 16);
MEMBER(dqg_picture_spec, seed, 24);
MEMBER(dqg_picture_spec, tile, 32);
MEMBER(dqg_picture_spec, overlap, 36);

RECORD(dqg_tensor_info, 104);
MEMBER(dqg_tensor_info, struct_size, 0);
MEMBER(dqg_tensor_info, dtype, 4);
MEMBER(dqg_tensor_info, group, 8);
MEMBER(dqg_tensor_info, rank, 12);
MEMBER(dqg_tensor_info, shape, 16);
MEMBER(dqg_tensor_info, memory_bytes, 80);
MEMBER(dqg_tensor_info, stored_bytes, 88);
MEMBER(dqg_tensor_info, name, 96);

RECORD(dqg_memory_info, 24);
MEMBER(dqg_memory_info, struct_size, 0);
MEMBER(dqg_memory_info, flags, 4);
MEMBER(dqg_memory_info, run_bytes, 8);
MEMBER(dqg_memory_info, model_bytes, 16);

RECORD(dqg_piece_info, 40);
MEMBER(dqg_piece_info, struct_size, 0);
MEMBER(dqg_piece_info, key, 4);
MEMBER(dqg_piece_info, name, 8);
MEMBER(dqg_piece_info, doc, 16);
MEMBER(dqg_piece_info, paths, 24);
MEMBER(dqg_piece_info, noise_paths, 28);
MEMBER(dqg_piece_info, evaluations, 32);
MEMBER(dqg_piece_info, buffers, 36);
RECORD(dqg_interpolant, 72);
MEMBER(dqg_interpolant, struct_size, 0);
MEMBER(dqg_interpolant, flags, 4);
MEMBER(dqg_interpolant, path, 8);
MEMBER(dqg_interpolant, gamma, 12);
MEMBER(dqg_interpolant, gamma_scale, 16);
MEMBER(dqg_interpolant, diffusion, 24);
MEMBER(dqg_interpolant, backward, 32);
MEMBER(dqg_interpolant, integrator, 36);
MEMBER(dqg_interpolant, drift, 40);
MEMBER(dqg_interpolant, score, 44);
MEMBER(dqg_interpolant, steps, 48);
MEMBER(dqg_interpolant, reserved, 52);
MEMBER(dqg_interpolant, timestep_scale, 56);
MEMBER(dqg_interpolant, times, 64);

RECORD(dqg_interpolant_point, 56);
MEMBER(dqg_interpolant_point, struct_size, 0);
MEMBER(dqg_interpolant_point, flags, 4);
MEMBER(dqg_interpolant_point, start, 8);
MEMBER(dqg_interpolant_point, end, 16);
MEMBER(dqg_interpolant_point, gamma, 24);
MEMBER(dqg_interpolant_point, start_rate, 32);
MEMBER(dqg_interpolant_point, end_rate, 40);
MEMBER(dqg_interpolant_point, gamma_product, 48);

RECORD(dqg_point, 40);
MEMBER(dqg_point, struct_size, 0);
MEMBER(dqg_point, flags, 4);
MEMBER(dqg_point, alpha, 8);
MEMBER(dqg_point, sigma, 16);
MEMBER(dqg_point, timestep, 24);
MEMBER(dqg_point, input_scale, 32);

RECORD(dqg_search_info, 24);
MEMBER(dqg_search_info, struct_size, 0);
MEMBER(dqg_search_info, evaluations, 4);
MEMBER(dqg_search_info, reward, 8);
MEMBER(dqg_search_info, time, 16);

RECORD(dqg_boundary, 56);
MEMBER(dqg_boundary, struct_size, 0);
MEMBER(dqg_boundary, flags, 4);
MEMBER(dqg_boundary, candidates, 8);
MEMBER(dqg_boundary, pairs, 12);
MEMBER(dqg_boundary, first_seed, 16);
MEMBER(dqg_boundary, prepare, 24);
MEMBER(dqg_boundary, evaluate, 32);
MEMBER(dqg_boundary, metric, 40);
MEMBER(dqg_boundary, user, 48);

RECORD(dqg_boundary_result, 32);
MEMBER(dqg_boundary_result, struct_size, 0);
MEMBER(dqg_boundary_result, stopped, 4);
MEMBER(dqg_boundary_result, seed, 8);
MEMBER(dqg_boundary_result, score, 16);
MEMBER(dqg_boundary_result, evaluations, 24);

RECORD(dqg_feature_spec, 24);
MEMBER(dqg_feature_spec, struct_size, 0);
MEMBER(dqg_feature_spec, index, 4);
MEMBER(dqg_feature_spec, block, 8);
MEMBER(dqg_feature_spec, pool, 12);
MEMBER(dqg_feature_spec, seed, 16);

RECORD(dqg_component_info, 40);
MEMBER(dqg_component_info, struct_size, 0);
MEMBER(dqg_component_info, flags, 4);
MEMBER(dqg_component_info, parameters, 8);
MEMBER(dqg_component_info, weight_bytes, 16);
MEMBER(dqg_component_info, family, 24);
MEMBER(dqg_component_info, role, 32);

RECORD(dqg_prompt_settings, 24);
MEMBER(dqg_prompt_settings, struct_size, 0);
MEMBER(dqg_prompt_settings, flags, 4);
MEMBER(dqg_prompt_settings, skip, 8);
MEMBER(dqg_prompt_settings, chunks, 12);
MEMBER(dqg_prompt_settings, role, 16);

RECORD(dqg_prompt_info, 32);
MEMBER(dqg_prompt_info, struct_size, 0);
MEMBER(dqg_prompt_info, flags, 4);
MEMBER(dqg_prompt_info, tokens, 8);
MEMBER(dqg_prompt_info, columns, 12);
MEMBER(dqg_prompt_info, pooled, 16);
MEMBER(dqg_prompt_info, chunks, 20);
MEMBER(dqg_prompt_info, bytes, 24);

RECORD(dqg_phase_memory, 48);
MEMBER(dqg_phase_memory, struct_size, 0);
MEMBER(dqg_phase_memory, flags, 4);
MEMBER(dqg_phase_memory, model_bytes, 8);
MEMBER(dqg_phase_memory, encode_bytes, 16);
MEMBER(dqg_phase_memory, denoise_bytes, 24);
MEMBER(dqg_phase_memory, decode_bytes, 32);
MEMBER(dqg_phase_memory, peak_bytes, 40);

RECORD(dqg_text_info, 56);
MEMBER(dqg_text_info, struct_size, 0);
MEMBER(dqg_text_info, flags, 4);
MEMBER(dqg_text_info, layers, 8);
MEMBER(dqg_text_info, columns, 12);
MEMBER(dqg_text_info, tokens, 16);
MEMBER(dqg_text_info, vocabulary, 20);
MEMBER(dqg_text_info, projection, 24);
MEMBER(dqg_text_info, reserved, 28);
MEMBER(dqg_text_info, parameters, 32);
MEMBER(dqg_text_info, family, 40);
MEMBER(dqg_text_info, role, 48);

RECORD(dqg_text_settings, 24);
MEMBER(dqg_text_settings, struct_size, 0);
MEMBER(dqg_text_settings, flags, 4);
MEMBER(dqg_text_settings, skip, 8);
MEMBER(dqg_text_settings, end_token, 12);
MEMBER(dqg_text_settings, role, 16);

RECORD(dqg_adaptation, 48);
MEMBER(dqg_adaptation, struct_size, 0);
MEMBER(dqg_adaptation, flags, 4);
MEMBER(dqg_adaptation, path, 8);
MEMBER(dqg_adaptation, data, 16);
MEMBER(dqg_adaptation, size, 24);
MEMBER(dqg_adaptation, scale, 32);
MEMBER(dqg_adaptation, name, 40);

RECORD(dqg_token_info, 32);
MEMBER(dqg_token_info, struct_size, 0);
MEMBER(dqg_token_info, flags, 4);
MEMBER(dqg_token_info, first, 8);
MEMBER(dqg_token_info, count, 12);
MEMBER(dqg_token_info, name, 16);
MEMBER(dqg_token_info, role, 24);

RECORD(dqg_run_info, 56);
MEMBER(dqg_run_info, struct_size, 0);
MEMBER(dqg_run_info, step, 4);
MEMBER(dqg_run_info, steps, 8);
MEMBER(dqg_run_info, evaluations, 12);
MEMBER(dqg_run_info, operator_index, 16);
MEMBER(dqg_run_info, operators, 20);
MEMBER(dqg_run_info, sigma, 24);
MEMBER(dqg_run_info, timestep, 32);
MEMBER(dqg_run_info, computed, 40);
MEMBER(dqg_run_info, skipped, 48);

RECORD(dqg_condition, 32);
MEMBER(dqg_condition, struct_size, 0);
MEMBER(dqg_condition, flags, 4);
MEMBER(dqg_condition, label, 8);
MEMBER(dqg_condition, reserved, 12);
MEMBER(dqg_condition, weight, 16);
MEMBER(dqg_condition, mask, 24);

RECORD(dqg_guidance_terms, 56);
MEMBER(dqg_guidance_terms, struct_size, 0);
MEMBER(dqg_guidance_terms, flags, 4);
MEMBER(dqg_guidance_terms, step, 8);
MEMBER(dqg_guidance_terms, steps, 12);
MEMBER(dqg_guidance_terms, sigma, 16);
MEMBER(dqg_guidance_terms, conditional, 24);
MEMBER(dqg_guidance_terms, unconditional, 32);
MEMBER(dqg_guidance_terms, perturbed, 40);
MEMBER(dqg_guidance_terms, momentum, 48);

RECORD(dqg_request, 24);
MEMBER(dqg_request, struct_size, 0);
MEMBER(dqg_request, flags, 4);
MEMBER(dqg_request, timestep, 8);
MEMBER(dqg_request, sigma, 16);

/* experimental: may change, but not by accident */
RECORD(dqg_measure_spec, 128);
MEMBER(dqg_measure_spec, struct_size, 0);
MEMBER(dqg_measure_spec, flags, 4);
MEMBER(dqg_measure_spec, operation, 8);
MEMBER(dqg_measure_spec, dtype, 12);
MEMBER(dqg_measure_spec, group, 16);
MEMBER(dqg_measure_spec, repeats, 20);
MEMBER(dqg_measure_spec, seconds, 24);
MEMBER(dqg_measure_spec, memory_bytes, 32);
MEMBER(dqg_measure_spec, samples, 40);
MEMBER(dqg_measure_spec, rows, 48);
MEMBER(dqg_measure_spec, outputs, 56);
MEMBER(dqg_measure_spec, inputs, 64);
MEMBER(dqg_measure_spec, heads, 72);
MEMBER(dqg_measure_spec, height, 80);
MEMBER(dqg_measure_spec, width, 88);
MEMBER(dqg_measure_spec, keys, 96);
MEMBER(dqg_measure_spec, depth, 104);
MEMBER(dqg_measure_spec, kernel, 112);
MEMBER(dqg_measure_spec, stride, 120);

RECORD(dqg_measure_result, 72);
MEMBER(dqg_measure_result, struct_size, 0);
MEMBER(dqg_measure_result, times, 4);
MEMBER(dqg_measure_result, seconds_min, 8);
MEMBER(dqg_measure_result, seconds_median, 16);
MEMBER(dqg_measure_result, seconds_max, 24);
MEMBER(dqg_measure_result, operations, 32);
MEMBER(dqg_measure_result, bytes, 40);
MEMBER(dqg_measure_result, ceiling, 48);
MEMBER(dqg_measure_result, error, 56);
MEMBER(dqg_measure_result, processor_seconds, 64);

RECORD(dqg_measure_operator, 48);
MEMBER(dqg_measure_operator, struct_size, 0);
MEMBER(dqg_measure_operator, evaluation, 4);
MEMBER(dqg_measure_operator, index, 8);
MEMBER(dqg_measure_operator, dtype, 12);
MEMBER(dqg_measure_operator, kind, 16);
MEMBER(dqg_measure_operator, name, 24);
MEMBER(dqg_measure_operator, seconds, 32);
MEMBER(dqg_measure_operator, operations, 40);
#endif

CONSTANT(DQG_OK, 0);
CONSTANT(DQG_PENDING, 1);
CONSTANT(DQG_DONE, 2);
CONSTANT(DQG_ERROR_ARGUMENT, -10);
CONSTANT(DQG_ERROR_RANGE, -11);
CONSTANT(DQG_ERROR_NAME, -12);
CONSTANT(DQG_ERROR_STATE, -13);
CONSTANT(DQG_ERROR_UNSUPPORTED, -14);
CONSTANT(DQG_ERROR_MEMORY, -20);
CONSTANT(DQG_ERROR_LIMIT, -21);
CONSTANT(DQG_ERROR_IO, -30);
CONSTANT(DQG_ERROR_NOT_FOUND, -31);
CONSTANT(DQG_ERROR_FORMAT, -40);
CONSTANT(DQG_ERROR_VERSION, -41);
CONSTANT(DQG_ERROR_TRUNCATED, -42);
CONSTANT(DQG_ERROR_CHECKSUM, -43);
CONSTANT(DQG_ERROR_CANCELLED, -50);
CONSTANT(DQG_ERROR_INTERNAL, -90);

CONSTANT(DQG_DTYPE_F32, 1);
CONSTANT(DQG_DTYPE_F16, 2);
CONSTANT(DQG_DTYPE_BF16, 3);
CONSTANT(DQG_DTYPE_U8, 4);
CONSTANT(DQG_DTYPE_U16, 5);
CONSTANT(DQG_DTYPE_INT8, 16);
CONSTANT(DQG_DTYPE_INT4, 17);
CONSTANT(DQG_DTYPE_INT4Z, 18);
CONSTANT(DQG_DTYPE_INT2, 19);
CONSTANT(DQG_DTYPE_INT2Z, 20);
CONSTANT(DQG_DTYPE_INT3, 21);
CONSTANT(DQG_DTYPE_INT3Z, 22);
CONSTANT(DQG_DTYPE_INT5, 23);
CONSTANT(DQG_DTYPE_INT5Z, 24);
CONSTANT(DQG_DTYPE_INT6, 25);
CONSTANT(DQG_DTYPE_INT6Z, 26);
CONSTANT(DQG_DTYPE_E2M1, 27);
CONSTANT(DQG_DTYPE_E1M2, 28);
CONSTANT(DQG_DTYPE_E3M0, 29);
CONSTANT(DQG_DTYPE_NF4, 30);
CONSTANT(DQG_DTYPE_E4M3, 31);
CONSTANT(DQG_DTYPE_E5M2, 32);
CONSTANT(DQG_DTYPE_BIN1, 33);
CONSTANT(DQG_DTYPE_BIN2, 34);
CONSTANT(DQG_DTYPE_VQ2, 35);
CONSTANT(DQG_DTYPE_VQ4, 36);

CONSTANT(DQG_ALPHA_STRAIGHT, 0);
CONSTANT(DQG_ALPHA_PREMULTIPLIED, 1);

CONSTANT(DQG_LOG_ERROR, 1);
CONSTANT(DQG_LOG_WARNING, 2);
CONSTANT(DQG_LOG_INFO, 3);
CONSTANT(DQG_LOG_DEBUG, 4);

CONSTANT(DQG_PICTURE_SAMPLE, 1);
CONSTANT(DQG_PHASE_LOAD, 1);
CONSTANT(DQG_PHASE_VERIFY, 2);
CONSTANT(DQG_PHASE_QUANTIZE, 3);
CONSTANT(DQG_PHASE_RUN, 4);
CONSTANT(DQG_PHASE_MEASURE, 5);
CONSTANT(DQG_PHASE_SEARCH, 6);

CONSTANT(DQG_OPTIONS_MODEL, 1);
CONSTANT(DQG_OPTIONS_SCHEDULER, 2);
CONSTANT(DQG_OPTIONS_RUN, 3);
CONSTANT(DQG_OPTIONS_QUANTIZER, 4);
CONSTANT(DQG_OPTIONS_SEARCH, 5);

CONSTANT(DQG_MODEL_MEMORY_LIMIT, 100);
CONSTANT(DQG_MODEL_VARIANT, 101);
CONSTANT(DQG_MODEL_COMPONENTS, 102);
CONSTANT(DQG_SCHEDULER_SOLVER, 200);
CONSTANT(DQG_SCHEDULER_SCHEDULE, 201);
CONSTANT(DQG_SCHEDULER_SPACING, 202);
CONSTANT(DQG_SCHEDULER_PREDICTION, 203);
CONSTANT(DQG_SCHEDULER_STEPS, 204);
CONSTANT(DQG_SCHEDULER_SHIFT, 205);
CONSTANT(DQG_SCHEDULER_ETA, 206);
CONSTANT(DQG_SCHEDULER_BETA_START, 207);
CONSTANT(DQG_SCHEDULER_BETA_END, 208);
CONSTANT(DQG_SCHEDULER_TRAIN_TIMESTEPS, 209);
CONSTANT(DQG_SCHEDULER_STEPS_OFFSET, 210);
CONSTANT(DQG_SCHEDULER_TIMESTEP_SCALE, 211);
CONSTANT(DQG_SCHEDULER_SIGMAS, 212);
CONSTANT(DQG_SCHEDULER_TIMESTEPS, 213);
CONSTANT(DQG_SCHEDULER_ZERO_SNR, 214);
CONSTANT(DQG_PATH_FLOW, 1);
CONSTANT(DQG_PATH_VP, 2);
CONSTANT(DQG_SCHEDULER_ORDER, 215);
CONSTANT(DQG_SCHEDULER_LOWER_ORDER_FINAL, 216);
CONSTANT(DQG_SCHEDULER_UNCORRECTED, 240);
CONSTANT(DQG_SCHEDULER_VARIANCE, 217);
CONSTANT(DQG_SCHEDULER_LAMBDA, 218);
CONSTANT(DQG_SCHEDULER_S_CHURN, 219);
CONSTANT(DQG_SCHEDULER_CHURN_RANGE, 220);
CONSTANT(DQG_SCHEDULER_S_NOISE, 221);
CONSTANT(DQG_SCHEDULER_TIME_POWER, 222);
CONSTANT(DQG_SCHEDULER_LML_LAMBDA, 223);
CONSTANT(DQG_SCHEDULER_LML_KAPPA, 224);
CONSTANT(DQG_SCHEDULER_LML_RHO, 225);
CONSTANT(DQG_SCHEDULER_LML_FREEZE, 226);
CONSTANT(DQG_PATH_EDM, 4);
CONSTANT(DQG_SCHEDULER_SIGMA_MIN, 228);
CONSTANT(DQG_SCHEDULER_SIGMA_MAX, 229);
CONSTANT(DQG_SCHEDULER_SIGMA_DATA, 230);
CONSTANT(DQG_SCHEDULER_RHO, 231);
CONSTANT(DQG_SCHEDULER_IMAGE_TOKENS, 232);
CONSTANT(DQG_SCHEDULER_RESOLUTION_SHIFT, 233);
CONSTANT(DQG_SCHEDULER_BASE_SHIFT, 234);
CONSTANT(DQG_SCHEDULER_MAX_SHIFT, 235);
CONSTANT(DQG_SCHEDULER_SHIFT_POWER, 236);
CONSTANT(DQG_SCHEDULER_SHIFT_TERMINAL, 237);
CONSTANT(DQG_SCHEDULER_INTERPOLATION, 238);
CONSTANT(DQG_SCHEDULER_PFGM_DIMENSIONS, 239);
CONSTANT(DQG_RUN_COUNT, 300);
CONSTANT(DQG_RUN_SEED, 301);
CONSTANT(DQG_RUN_SEEDS, 302);
CONSTANT(DQG_RUN_CLASSES, 303);
CONSTANT(DQG_RUN_GUIDANCE, 304);
CONSTANT(DQG_RUN_CFG_CHANNELS, 305);
CONSTANT(DQG_RUN_HEIGHT, 306);
CONSTANT(DQG_RUN_WIDTH, 307);
CONSTANT(DQG_RUN_MEMORY_LIMIT, 308);
CONSTANT(DQG_RUN_FLOAT_COMPUTE, 309);
CONSTANT(DQG_RUN_ATTENTION, 310);
CONSTANT(DQG_RUN_NOISE, 311);
CONSTANT(DQG_RUN_VARIATION_SEEDS, 312);
CONSTANT(DQG_RUN_VARIATION_STRENGTH, 313);
CONSTANT(DQG_RUN_OFFSET_NOISE, 314);
CONSTANT(DQG_RUN_TIME_AXES, 335);
CONSTANT(DQG_NEAREST_POINT, -1);
CONSTANT(DQG_RUN_TEMPERATURE, 355);
CONSTANT(DQG_RUN_CONTEXT_TOKENS, 356);
CONSTANT(DQG_RUN_PROMPT, 357);
CONSTANT(DQG_RUN_NEGATIVE_PROMPT, 358);
CONSTANT(DQG_RUN_CLIP_SKIP, 359);
CONSTANT(DQG_MODEL_GUIDED, 1);
CONSTANT(DQG_MODEL_MASKED, 2);
CONSTANT(DQG_MODEL_CONTROLLED, 4);
CONSTANT(DQG_UNCONDITIONAL, -1);
CONSTANT(DQG_RUN_CACHE, 340);
CONSTANT(DQG_RUN_CACHE_THRESHOLD, 341);
CONSTANT(DQG_RUN_CACHE_POLYNOMIAL, 342);
CONSTANT(DQG_RUN_CACHE_INTERVAL, 343);
CONSTANT(DQG_RUN_CACHE_STEPS, 344);
CONSTANT(DQG_RUN_CACHE_BRANCH, 345);
CONSTANT(DQG_RUN_CACHE_WARMUP, 346);
CONSTANT(DQG_RUN_ATTENTION_SCALE, 347);
CONSTANT(DQG_RUN_TRAIN_TOKENS, 348);
CONSTANT(DQG_RUN_NOISE_PATH, 315);
CONSTANT(DQG_RUN_GUIDANCE_FORM, 318);
CONSTANT(DQG_RUN_GUIDANCE_LOW, 319);
CONSTANT(DQG_RUN_GUIDANCE_HIGH, 320);
CONSTANT(DQG_RUN_GUIDANCE_RESCALE, 321);
CONSTANT(DQG_RUN_APG_MOMENTUM, 322);
CONSTANT(DQG_RUN_APG_NORM, 323);
CONSTANT(DQG_RUN_APG_PARALLEL, 324);
CONSTANT(DQG_RUN_ZERO_STEPS, 325);
CONSTANT(DQG_RUN_THRESHOLD, 326);
CONSTANT(DQG_RUN_THRESHOLD_LIMIT, 327);
CONSTANT(DQG_RUN_PERTURBATION, 328);
CONSTANT(DQG_RUN_PERTURBED_SCALE, 329);
CONSTANT(DQG_RUN_PERTURBED_BLOCKS, 330);
CONSTANT(DQG_RUN_PERTURBED_START, 331);
CONSTANT(DQG_RUN_PERTURBED_END, 332);
CONSTANT(DQG_RUN_CONDITIONS, 333);
CONSTANT(DQG_RUN_CONDITION_WEIGHTS, 334);

CONSTANT(DQG_CONDITION_CLASS, 1);
CONSTANT(DQG_CONDITION_WEIGHT, 2);
CONSTANT(DQG_CONDITION_MASK, 4);
CONSTANT(DQG_RUN_RAS_RATIO, 349);
CONSTANT(DQG_RUN_RAS_RANGE, 350);
CONSTANT(DQG_RUN_RAS_RESETS, 351);
CONSTANT(DQG_RUN_RAS_METRIC, 352);
CONSTANT(DQG_RUN_RAS_HIGH, 353);
CONSTANT(DQG_RUN_RAS_STARVATION, 354);
CONSTANT(DQG_QUANTIZER_BITS, 400);
CONSTANT(DQG_QUANTIZER_GROUP, 401);
CONSTANT(DQG_QUANTIZER_ZERO_POINT, 402);
CONSTANT(DQG_QUANTIZER_SEARCH, 403);
CONSTANT(DQG_QUANTIZER_LEVEL, 404);
CONSTANT(DQG_QUANTIZER_DEFAULT_RULES, 405);
CONSTANT(DQG_QUANTIZER_FORMAT, 406);
CONSTANT(DQG_SEARCH_METHOD, 500);
CONSTANT(DQG_SEARCH_BUDGET, 501);
CONSTANT(DQG_SEARCH_STEPS, 502);
CONSTANT(DQG_SEARCH_INTERPOLANT, 503);
CONSTANT(DQG_SEARCH_DIFFUSION, 504);
CONSTANT(DQG_SEARCH_DIFFUSION_SCALE, 505);
CONSTANT(DQG_SEARCH_FINISH, 506);
CONSTANT(DQG_SEARCH_CHAINS, 507);
CONSTANT(DQG_SEARCH_CANDIDATES, 508);
CONSTANT(DQG_SEARCH_BLOCK, 509);
CONSTANT(DQG_SEARCH_BACK, 510);
CONSTANT(DQG_SEARCH_THRESHOLD, 511);
CONSTANT(DQG_SEARCH_TEMPERATURE, 512);

CONSTANT(DQG_TYPE_INT, 1);
CONSTANT(DQG_TYPE_FLOAT, 2);
CONSTANT(DQG_TYPE_TEXT, 3);
CONSTANT(DQG_TYPE_INTS, 4);
CONSTANT(DQG_TYPE_FLOATS, 5);

CONSTANT(DQG_SOURCE_LATENT, 0);
CONSTANT(DQG_SOURCE_X0, 1);
CONSTANT(DQG_INTERPOLATE_LINEAR, 0);
CONSTANT(DQG_INTERPOLATE_TRIG, 1);
CONSTANT(DQG_INTERPOLATE_ENCODE_DECODE, 2);
CONSTANT(DQG_INTERPOLATE_MIRROR, 3);
CONSTANT(DQG_INTERPOLATE_ONE_SIDED_LINEAR, 4);
CONSTANT(DQG_INTERPOLATE_ONE_SIDED_TRIG, 5);
CONSTANT(DQG_GAMMA_ZERO, 0);
CONSTANT(DQG_GAMMA_BROWNIAN, 1);
CONSTANT(DQG_GAMMA_BSQUARED, 2);
CONSTANT(DQG_GAMMA_SINE_SQUARED, 3);
CONSTANT(DQG_GAMMA_SIGMOID, 4);
CONSTANT(DQG_INTEGRATE_EULER, 0);
CONSTANT(DQG_INTEGRATE_HEUN, 1);
CONSTANT(DQG_DRIFT_B, 0);
CONSTANT(DQG_DRIFT_V, 1);
CONSTANT(DQG_SCORE_S, 0);
CONSTANT(DQG_SCORE_ETA, 1);

CONSTANT(DQG_ADAPT_MERGE, 1);
CONSTANT(DQG_ADAPT_PARTIAL, 2);

CONSTANT(DQG_COMPONENT_TOKENIZER, 1);
CONSTANT(DQG_PROMPT_PLAIN, 1);
CONSTANT(DQG_PROMPT_ONE_CHUNK, 2);
CONSTANT(DQG_PROMPT_MASKED, 1);
CONSTANT(DQG_PROMPT_CUT, 2);
CONSTANT(DQG_TEXT_NO_NORM, 1);
CONSTANT(DQG_TEXT_NO_PROJECTION, 2);

CONSTANT(DQG_REPORT_TEXT, 0);
CONSTANT(DQG_REPORT_JSON, 1);

CONSTANT(DQG_MEASURE_CEILING_I8, 1);
CONSTANT(DQG_MEASURE_CEILING_F32, 2);
CONSTANT(DQG_MEASURE_BANDWIDTH, 3);
CONSTANT(DQG_MEASURE_LINEAR, 4);
CONSTANT(DQG_MEASURE_DECODE, 5);
CONSTANT(DQG_MEASURE_NORM, 6);
CONSTANT(DQG_MEASURE_QUANTIZE, 7);
CONSTANT(DQG_MEASURE_ATTENTION, 8);
CONSTANT(DQG_MEASURE_CONV, 9);
CONSTANT(DQG_MEASURE_RMS_NORM, 10);
CONSTANT(DQG_MEASURE_GROUP_NORM, 11);
CONSTANT(DQG_MEASURE_CEILING_BF16, 12);
CONSTANT(DQG_MEASURE_COLD, 1);
CONSTANT(DQG_MEASURE_BF16, 2);
CONSTANT(DQG_MEASURE_UPSAMPLE, 4);

int main(void) {
    return dqg_version() / 1000 == DQG_VERSION_MAJOR * 1000 + DQG_VERSION_MINOR ? 0 : 1;
}
