/* SPDX-License-Identifier: MIT */
/*
 * The reader of PyTorch checkpoints: a known pickle in archives of both sizes, checkpoints of training programs, what a
 * pickle must not do, files that must be refused, truncation at every byte, and failing allocations.
 */
#include "io_check.h"

#include "zip_builder.h"

/* A state dict: l.weight (2, 3), l.weight_t (3, 2) on the same storage, l.bias (2) in the second half of another. */
static const char golden_pickle[] =
    "800263636f6c6c656374696f6e730a4f726465726564446963740a7100295271012858080000006c2e776569676874710263746f7263682e5f"
    "7574696c730a5f72656275696c645f74656e736f725f76320a71032828580700000073746f726167657104"
    "63746f7263680a466c6f617453746f726167650a71055801000000307106580300000063707571074b06747108"
    "514b004b024b038671094b034b0186710a8968002952710b74710c52710d580a0000006c2e7765696768745f74710e"
    "6803282868046805680668074b0674710f514b004b034b028671104b014b038671118968002952711274711352711458"
    "060000006c2e62696173711568032828680463746f7263680a48616c6653746f726167650a7116580100000031711768"
    "074b04747118514b024b028571194b0185711a8968002952711b74711c52711d752e";

/* Pieces of pickles, by the instructions of pickletools. */
static void put_short_text(struct builder *pickle, const char *text) {
    put_number(pickle, 'X', 1);
    put_number(pickle, strlen(text), 4);
    put(pickle, text, strlen(text));
}

static void put_global(struct builder *pickle, const char *module, const char *name) {
    put_literal(pickle, "c");
    put(pickle, module, strlen(module));
    put_literal(pickle, "\n");
    put(pickle, name, strlen(name));
    put_literal(pickle, "\n");
}

static void put_begin(struct builder *pickle) {
    pickle->size = 0;
    put_literal(pickle, "\x80\x02");
}

static void put_storage(struct builder *pickle, const char *type, const char *key, int count) {
    put_literal(pickle, "(");
    put_short_text(pickle, "storage");
    put_global(pickle, "torch", type);
    put_short_text(pickle, key);
    put_short_text(pickle, "cpu");
    put_literal(pickle, "K");
    put_number(pickle, (uint64_t)count, 1);
    put_literal(pickle, "tQ");
}

static void put_vector(struct builder *pickle, const char *type, const char *key, int count, int offset, int size,
                       int stride) {
    put_global(pickle, "torch._utils", "_rebuild_tensor_v2");
    put_literal(pickle, "(");
    put_storage(pickle, type, key, count);
    put_literal(pickle, "K");
    put_number(pickle, (uint64_t)offset, 1);
    put_literal(pickle, "K");
    put_number(pickle, (uint64_t)size, 1);
    put_literal(pickle, "\x85K");
    put_number(pickle, (uint64_t)stride, 1);
    put_literal(pickle, "\x85\x89NtR");
}

/* "name": a vector of both elements of storage key */
static void put_item(struct builder *pickle, const char *name, const char *key) {
    put_short_text(pickle, name);
    put_vector(pickle, "FloatStorage", key, 2, 0, 2, 1);
    put_literal(pickle, "s");
}

/* An archive of a pickle, six floats 0 to 5 as storage 0, and four halves as storage 1. */
static void make_archive(struct zip_builder *zip, const struct builder *pickle, bool large) {
    const float floats[6] = {0, 1, 2, 3, 4, 5};
    const uint16_t halves[4] = {0x3c00, 0x4000, 0x4200, 0xc400};
    *zip = (struct zip_builder){.count = 0};
    put_zip_entry(zip, "x/data.pkl", pickle->bytes, pickle->size);
    put_zip_entry(zip, "x/byteorder", "little", 6);
    put_zip_entry(zip, "x/data/0", floats, sizeof(floats));
    put_zip_entry(zip, "x/data/1", halves, sizeof(halves));
    put_zip_entry(zip, "x/version", "3\n", 2);
    put_zip_end(zip, large);
}

static dqg_status open_pickle(struct io_fixture *fixture, struct zip_builder *zip, const struct builder *pickle,
                              struct dqg_source *source) {
    make_archive(zip, pickle, false);
    return io_open_bytes(fixture, zip->file.bytes, zip->file.size, source);
}

static void make_golden(struct builder *pickle) {
    pickle->size = 0;
    put_hex(pickle, golden_pickle);
    assert_int_equal(pickle->size, 322);
    assert_int_equal(crc32_of(pickle->bytes, pickle->size), 0xb3e6c8b9);
}

static void check_floats(struct dqg_source *source, const char *name, size_t count, const float *want) {
    int64_t tensor = dqg_source_find(source, name);
    float values[16];
    assert_true(tensor >= 0);
    assert_int_equal(source->tensors[tensor].plane_bytes[0], count * sizeof(float));
    assert_ok(dqg_source_read(source, (size_t)tensor, DQG_PLANE_CODES, 0, values, count * sizeof(float)));
    assert_memory_equal(values, want, count * sizeof(float));
}

static void reads_the_known_pickle(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    struct dqg_source source;
    uint16_t bias[2];
    float part[3];
    make_golden(&pickle);
    for (int large = 0; large < 2; large++) {
        make_archive(&zip, &pickle, large != 0);
        assert_ok(io_open_bytes(fixture, zip.file.bytes, zip.file.size, &source));
        assert_string_equal(source.format, "PyTorch");
        assert_int_equal(source.tensor_count, 3);
        check_floats(&source, "l.weight", 6, (float[]){0, 1, 2, 3, 4, 5});
        check_floats(&source, "l.weight_t", 6, (float[]){0, 3, 1, 4, 2, 5});
        size_t tensor = (size_t)dqg_source_find(&source, "l.weight_t");
        assert_int_equal(source.tensors[tensor].shape[0], 3);
        assert_int_equal(source.tensors[tensor].shape[1], 2);
        assert_ok(dqg_source_read(&source, tensor, DQG_PLANE_CODES, 4, part, 12));
        assert_true(part[0] == 3 && part[1] == 1 && part[2] == 4);
        tensor = (size_t)dqg_source_find(&source, "l.bias");
        assert_int_equal(source.tensors[tensor].dtype, DQG_DTYPE_F16);
        assert_ok(dqg_source_read(&source, tensor, DQG_PLANE_CODES, 0, bias, sizeof(bias)));
        assert_true(bias[0] == 0x4200 && bias[1] == 0xc400);
        assert_ok(dqg_source_verify(&source));
        dqg_source_close(&source);
    }
}

/* The file that os.system would make is not there afterwards. */
static void executes_nothing(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    struct dqg_source source;
    char command[200];
    const char *made = io_path(fixture, "made");
    snprintf(command, sizeof(command), "touch %s", made);
    put_begin(&pickle);
    put_literal(&pickle, "}");
    put_short_text(&pickle, "callback");
    put_global(&pickle, "os", "system");
    put_short_text(&pickle, command);
    put_literal(&pickle, "\x85Rs");
    put_item(&pickle, "w", "0");
    put_literal(&pickle, ".");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    assert_int_equal(source.tensor_count, 1);
    check_floats(&source, "w", 2, (float[]){0, 1});
    dqg_source_close(&source);
    assert_int_equal(access(made, F_OK), -1);
}

/* ---- where the state dict is ---- */

static void finds_the_state_dict(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    struct dqg_source source;
    /* weights beside averages, which come first, and an optimizer */
    put_begin(&pickle);
    put_literal(&pickle, "}");
    put_short_text(&pickle, "model");
    put_literal(&pickle, "}");
    put_item(&pickle, "module.w", "0");
    put_short_text(&pickle, "module.buffer");
    put_vector(&pickle, "FloatStorage", "0", 6, 4, 2, 1);
    put_literal(&pickle, "ss");
    put_short_text(&pickle, "ema");
    put_literal(&pickle, "}");
    put_short_text(&pickle, "module.w");
    put_vector(&pickle, "FloatStorage", "0", 6, 2, 2, 1);
    put_literal(&pickle, "ss");
    put_short_text(&pickle, "opt");
    put_literal(&pickle, "}");
    put_item(&pickle, "exp_avg", "0");
    put_literal(&pickle, "s.");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    assert_int_equal(source.tensor_count, 2);
    check_floats(&source, "w", 2, (float[]){2, 3});
    check_floats(&source, "buffer", 2, (float[]){4, 5});
    dqg_source_close(&source);
    /* averages whose names lack a word */
    put_begin(&pickle);
    put_literal(&pickle, "}");
    put_short_text(&pickle, "model");
    put_literal(&pickle, "}");
    put_item(&pickle, "transformer.w", "0");
    put_literal(&pickle, "s");
    put_short_text(&pickle, "ema");
    put_literal(&pickle, "}");
    put_short_text(&pickle, "w");
    put_vector(&pickle, "FloatStorage", "0", 6, 2, 2, 1);
    put_literal(&pickle, "ss.");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    assert_int_equal(source.tensor_count, 1);
    check_floats(&source, "transformer.w", 2, (float[]){2, 3});
    dqg_source_close(&source);
    /* dicts in dicts under other keys, and an optimizer */
    put_begin(&pickle);
    put_literal(&pickle, "}");
    put_short_text(&pickle, "string_to_param");
    put_literal(&pickle, "}");
    put_item(&pickle, "*", "0");
    put_literal(&pickle, "s");
    put_short_text(&pickle, "optimizer");
    put_literal(&pickle, "}");
    put_item(&pickle, "exp_avg", "0");
    put_literal(&pickle, "s.");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    assert_int_equal(source.tensor_count, 1);
    check_floats(&source, "string_to_param.*", 2, (float[]){0, 1});
    dqg_source_close(&source);
}

/* Values that are remembered before they are filled, and dicts that hold themselves. */
static void follows_references(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    struct dqg_source source;
    put_begin(&pickle);
    put_literal(&pickle, "}q\7");
    put_short_text(&pickle, "model");
    put_literal(&pickle, "}q\1s");
    put_short_text(&pickle, "self");
    put_literal(&pickle, "h\7sh\1");
    put_item(&pickle, "w", "0");
    put_literal(&pickle, "0.");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    assert_int_equal(source.tensor_count, 1);
    check_floats(&source, "w", 2, (float[]){0, 1});
    dqg_source_close(&source);
}

static void reads_other_protocols(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    struct dqg_source source;
    pickle.size = 0;
    put_literal(&pickle, "\x80\4\x95");
    put_zeros_to(&pickle, 11); /* the frame's size */
    put_literal(&pickle, "}\x94(\x8c\1w\x94\x8c\14torch._utils\x94\x8c\22_rebuild_parameter\x94\x93\x94(");
    put_literal(&pickle, "\x8c\14torch._utils\x94\x8c\22_rebuild_tensor_v3\x94\x93\x94(");
    put_literal(&pickle, "(\x8c\7storage\x94\x8c\15torch.storage\x94\x8c\16UntypedStorage\x94\x93\x94\x8c\1");
    put_literal(&pickle, "0\x94\x8c\3cpu\x94K\30tQK\1K\2\x85K\2\x85\x89N\x8c\5torch\x94\x8c\7float32\x94\x93t");
    put_literal(&pickle, "R\x88NtR\x8c\3lst\x94](K\1M\1\1J\xff\xff\xff\xff\x8a\1\xff\x8b\2\0\0\0\1\1I7\nL8L\nI01\ne");
    put_literal(&pickle, "\x8c\4more\x94(G\0\0\0\0\0\0\0\0F1.5\nS'a'\nVb\nU\1cC\1dN\x8f(K\1\x90(K\2\x91tu.");
    assert_ok(open_pickle(fixture, &zip, &pickle, &source));
    check_floats(&source, "w", 2, (float[]){1, 3});
    dqg_source_close(&source);
}

/* ---- what must be refused ---- */

static dqg_status load_pickle(struct io_fixture *fixture, const struct builder *pickle) {
    struct zip_builder zip;
    make_archive(&zip, pickle, false);
    return load(fixture, &zip.file);
}

static void refuses_bad_tensors(void **state) {
    static const struct {
        const char *type, *key;
        int count, offset, size, stride;
        dqg_status status;
    } tensors[] = {
        {"FloatStorage", "0", 6, 0, 6, 1, DQG_OK},
        {"FloatStorage", "0", 6, 0, 3, 2, DQG_OK},
        {"FloatStorage", "0", 6, 5, 100, 0, DQG_OK},
        {"FloatStorage", "0", 6, 200, 0, 1, DQG_OK}, /* nothing of it */
        {"DoubleStorage", "0", 3, 0, 3, 1, DQG_OK},
        {"FloatStorage", "0", 6, 1, 6, 1, DQG_ERROR_FORMAT},
        {"FloatStorage", "0", 6, 0, 4, 2, DQG_ERROR_FORMAT},
        {"FloatStorage", "0", 6, 6, 1, 1, DQG_ERROR_FORMAT},
        {"FloatStorage", "0", 7, 0, 6, 1, DQG_ERROR_FORMAT}, /* more than the entry has */
        {"DoubleStorage", "0", 6, 0, 3, 1, DQG_ERROR_FORMAT},
        {"FloatStorage", "2", 6, 0, 6, 1, DQG_ERROR_FORMAT}, /* no such entry */
        {"FloatStorage", "../data.pkl", 6, 0, 6, 1, DQG_ERROR_FORMAT},
        {"QInt8Storage", "0", 6, 0, 6, 1, DQG_ERROR_UNSUPPORTED}, /* opaque: no tensor is left */
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        struct builder pickle;
        put_begin(&pickle);
        put_literal(&pickle, "}");
        put_short_text(&pickle, "w");
        put_vector(&pickle, tensors[i].type, tensors[i].key, tensors[i].count, tensors[i].offset, tensors[i].size,
                   tensors[i].stride);
        put_literal(&pickle, "s.");
        dqg_status status = load_pickle(fixture, &pickle);
        if (status != tensors[i].status) {
            fail_msg("tensor %zu gives %d: %s", i, (int)status, dqg_context_error(fixture->context));
        }
    }
}

static void refuses_bad_pickles(void **state) {
    static const struct {
        const char *text;
        size_t size;
        dqg_status status;
    } pickles[] = {
        {"", 0, DQG_ERROR_TRUNCATED},
        {"\x80\2.", 3, DQG_ERROR_FORMAT},                     /* nothing is left on the stack */
        {"\x80\1N.", 4, DQG_ERROR_FORMAT},                    /* an old protocol */
        {"\x80\6N.", 4, DQG_ERROR_FORMAT},                    /* a new one */
        {"\x80\2N.", 4, DQG_ERROR_UNSUPPORTED},               /* no dict */
        {"\x80\2}.", 4, DQG_ERROR_UNSUPPORTED},               /* an empty one */
        {"\x80\2}s.", 5, DQG_ERROR_FORMAT},                   /* too few values */
        {"\x80\2}(u", 5, DQG_ERROR_TRUNCATED},                /* no end */
        {"\x80\2}(Nu.", 7, DQG_ERROR_FORMAT},                 /* a key without a value */
        {"\x80\2}u.", 5, DQG_ERROR_FORMAT},                   /* no mark */
        {"\x80\2(}t.", 6, DQG_ERROR_UNSUPPORTED},             /* a tuple */
        {"\x80\2h\1.", 5, DQG_ERROR_FORMAT},                  /* never remembered */
        {"\x80\2}r\xff\xff\xff\x7f.", 9, DQG_ERROR_FORMAT},   /* an impossible number */
        {"\x80\2X\xff\xff\xff\xff.", 8, DQG_ERROR_TRUNCATED}, /* a long text */
        {"\x80\2\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", 12, DQG_ERROR_TRUNCATED},
        {"\x80\2\x8b\xff\xff\xff\xff.", 8, DQG_ERROR_TRUNCATED},
        {"\x80\2cos\nsystem\nQ.", 15, DQG_ERROR_FORMAT},       /* no storage */
        {"\x80\2(cos\nsystem\ni.", 16, DQG_ERROR_UNSUPPORTED}, /* INST */
        {"\x80\2(cos\nsystem\no.", 16, DQG_ERROR_UNSUPPORTED}, /* OBJ */
        {"\x80\2Pid\n.", 7, DQG_ERROR_UNSUPPORTED},            /* PERSID */
        {"\x80\2\x82\1.", 5, DQG_ERROR_UNSUPPORTED},           /* EXT1 */
        {"\x80\5\x97.", 4, DQG_ERROR_UNSUPPORTED},             /* NEXT_BUFFER */
        {"\x80\2ctorch._utils\n_rebuild_tensor_v2\n)R.", 37, DQG_ERROR_FORMAT},
    };
    struct io_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(pickles) / sizeof(pickles[0]); i++) {
        struct builder pickle = {.size = 0};
        put(&pickle, pickles[i].text, pickles[i].size);
        dqg_status status = load_pickle(fixture, &pickle);
        if (status != pickles[i].status || strlen(dqg_context_error(fixture->context)) < 20) {
            fail_msg("pickle %zu gives %d: %s", i, (int)status, dqg_context_error(fixture->context));
        }
    }
}

/* Small pickles of many objects: an error, and not much memory. */
static void limits_memory(void **state) {
    struct io_fixture *fixture = *state;
    enum { SIZE = 4 << 20 };
    static const uint8_t units[][3] = {{']', 0, 0}, {']', '0', 0}, {'}', 0x94, '0'}, {'(', 0, 0}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct builder end;
        struct zip_builder zip = {.count = 0};
        uint8_t *file = malloc(SIZE + 1024);
        put_zip_entry(&zip, "x/data.pkl", "", 0);
        size_t size = zip.file.size, length = units[i][1] == 0 ? 1 : units[i][2] == 0 ? 2 : 3;
        memcpy(file, zip.file.bytes, size);
        for (size_t at = 0; at < SIZE; at++) {
            file[size + at] = at < 2 ? (uint8_t)(at == 0 ? 0x80 : 4) : units[i][(at - 2) % length];
        }
        zip.entries[0].size = SIZE;
        zip.file.size = 0;
        put_zip_end(&zip, false);
        memcpy(file + size + SIZE, zip.file.bytes, zip.file.size);
        end = zip.file;
        /* where the directory is */
        for (int b = 0; b < 4; b++) {
            file[size + SIZE + end.size - 6 + (size_t)b] = (uint8_t)((size + SIZE) >> 8 * b);
        }
        fixture->memory.peak_bytes = fixture->memory.live_bytes;
        assert_int_equal(io_load_bytes(fixture, file, size + SIZE + end.size), DQG_ERROR_LIMIT);
        assert_true(fixture->memory.peak_bytes < 2 * SIZE + (16 << 20));
        free(file);
    }
}

static void refuses_bad_archives(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    make_golden(&pickle);
    zip = (struct zip_builder){.method = 8};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_UNSUPPORTED); /* compressed */
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    put_zip_entry(&zip, "x/constants.pkl", "", 0);
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_UNSUPPORTED); /* a program */
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    put_zip_entry(&zip, "x/byteorder", "big", 3);
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_UNSUPPORTED);
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "readme", "", 0);
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_FORMAT); /* something else */
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_FORMAT); /* twice */
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    zip.entries[0].header += 1;
    put_zip_end(&zip, false);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_FORMAT); /* not where the directory says */
    zip = (struct zip_builder){.count = 0};
    put_zip_entry(&zip, "x/data.pkl", pickle.bytes, pickle.size);
    zip.entries[0].size = 1 << 20;
    put_zip_end(&zip, true);
    assert_int_equal(load(fixture, &zip.file), DQG_ERROR_FORMAT); /* larger than the archive */
}

static void refuses_every_truncation(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle, whole;
    struct zip_builder zip;
    make_golden(&pickle);
    make_archive(&zip, &pickle, false);
    while (zip.file.size > 0) {
        zip.file.size--;
        assert_true(load(fixture, &zip.file) < 0);
        assert_true(strlen(dqg_context_error(fixture->context)) > 20);
    }
    whole = pickle;
    while (pickle.size > 0) {
        pickle.size--;
        assert_true(load_pickle(fixture, &pickle) < 0);
    }
    for (size_t i = 0; i < whole.size; i++) { /* no crash; some bytes may change */
        struct builder changed = whole;
        for (int bit = 0; bit < 8; bit++) {
            changed.bytes[i] = (uint8_t)(whole.bytes[i] ^ 1 << bit);
            load_pickle(fixture, &changed);
        }
    }
}

static void survives_failing_allocations(void **state) {
    struct io_fixture *fixture = *state;
    struct builder pickle;
    struct zip_builder zip;
    dqg_status status = DQG_ERROR_MEMORY;
    int64_t n = 0;
    make_golden(&pickle);
    make_archive(&zip, &pickle, true);
    assert_ok(io_load_bytes(fixture, zip.file.bytes, zip.file.size)); /* the workers stay */
    int64_t before = fixture->memory.live_blocks;
    while (status != DQG_OK) {
        fixture->memory.fail_at = ++n;
        status = io_load_bytes(fixture, zip.file.bytes, zip.file.size);
        assert_true(status == DQG_OK || status == DQG_ERROR_MEMORY);
        assert_int_equal(fixture->memory.live_blocks, before);
    }
    fixture->memory.fail_at = 0;
    assert_true(n > 6);
}

/* ---- before PyTorch 1.6 ---- */

static void make_row(struct builder *file) {
    file->size = 0;
    put_hex(file, "80028a0a6cfc9c46f9206aa850192e" /* the magic number */
                  "80024de9032e");                 /* 1001 */
    put_literal(file, "\x80\2}");
    put_short_text(file, "little_endian");
    put_literal(file, "\x88s.");
    put_literal(file, "\x80\2}");
    put_item(file, "a", "k1");
    put_short_text(file, "b");
    put_vector(file, "HalfStorage", "k0", 2, 1, 1, 1);
    put_literal(file, "s");
    put_item(file, "c", "k1");
    put_literal(file, ".\x80\2](");
    put_short_text(file, "k0");
    put_short_text(file, "k1");
    put_literal(file, "e.");
    put_number(file, 2, 8);
    put_number(file, 0x40003c00, 4);
    put_number(file, 2, 8);
    put_float(file, 7);
    put_float(file, 8);
}

static void reads_old_checkpoints(void **state) {
    struct io_fixture *fixture = *state;
    struct builder file;
    struct dqg_source source;
    uint16_t b;
    make_row(&file);
    assert_ok(io_open_bytes(fixture, file.bytes, file.size, &source));
    assert_int_equal(source.tensor_count, 3);
    check_floats(&source, "a", 2, (float[]){7, 8});
    check_floats(&source, "c", 2, (float[]){7, 8});
    assert_ok(dqg_source_read(&source, 1, DQG_PLANE_CODES, 0, &b, sizeof(b)));
    assert_int_equal(b, 0x4000);
    dqg_source_close(&source);
    while (file.size > 0) {
        file.size--;
        assert_true(load(fixture, &file) < 0);
        assert_true(strlen(dqg_context_error(fixture->context)) > 20);
    }
    put_begin(&file);
    put_literal(&file, "}q\0."); /* a pickle of somebody else */
    assert_int_equal(load(fixture, &file), DQG_ERROR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_the_known_pickle, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(executes_nothing, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(finds_the_state_dict, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(follows_references, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_other_protocols, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_tensors, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_pickles, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(limits_memory, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_archives, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(reads_old_checkpoints, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
