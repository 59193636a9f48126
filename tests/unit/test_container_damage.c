/* SPDX-License-Identifier: MIT */
/*
 * Damage to .dqg files: every byte flipped, removed, and another one added at every place; every truncation. Loading
 * and verifying must fail alike, with the same words, and name the tensor whose bytes were hit.
 */
#include "container_file.h"

#include <time.h>

struct damaged {
    struct io_fixture *fixture;
    struct dqg_tensor_desc tensors[SMALL_TENSORS];
    size_t count;
    uint8_t *intact;
    size_t size;
    struct owner *owners;
    bool named; /* the message names a tensor that may be it */
    bool may_be_index;
};

static void prepare(struct damaged *damaged, struct io_fixture *fixture) {
    memset(damaged, 0, sizeof(*damaged));
    damaged->fixture = fixture;
    damaged->count = SMALL_TENSORS;
    describe_small(damaged->tensors);
    damaged->intact = make_container(fixture, damaged->tensors, SMALL_TENSORS, &damaged->size);
    damaged->owners = find_owners(fixture, damaged->intact, damaged->size);
    assert_ok(dqg_context_set_threads(fixture->context, 1)); /* thousands of small files: workers only cost time */
}

static void release(struct damaged *damaged) {
    free(damaged->intact);
    free(damaged->owners);
}

/* Load and verify these bytes: both fail, with one text. */
static dqg_status refuse(struct damaged *damaged, const uint8_t *bytes, size_t size, const char *what, size_t at) {
    char text[512];
    dqg_context *context = damaged->fixture->context;
    dqg_status status = io_load_bytes(damaged->fixture, bytes, size);
    snprintf(text, sizeof(text), "%s", dqg_context_error(context));
    dqg_status verified = io_verify_bytes(damaged->fixture, bytes, size);
    if (status >= 0 || verified != status || strcmp(text, dqg_context_error(context)) != 0 || strlen(text) < 20) {
        fail_msg("%s %zu: load gives %d (%s), verify %d (%s)", what, at, (int)status, text, (int)verified,
                 dqg_context_error(context));
    }
    return status;
}

/* Start asking whether the message names one of several bytes' tensors. */
static void ask(struct damaged *damaged) {
    damaged->named = damaged->may_be_index = false;
}

/* The damage may be at this byte of the intact file. In an index record, the name itself may be hit: its number will
 * do. */
static void may_be_at(struct damaged *damaged, size_t at) {
    const char *error = dqg_context_error(damaged->fixture->context);
    char quoted[96], place[160];
    const struct owner *owner = &damaged->owners[at];
    if (owner->tensor < 0) {
        damaged->may_be_index = true;
        return;
    }
    snprintf(quoted, sizeof(quoted), "'%s'", damaged->tensors[owner->tensor].name);
    snprintf(place, sizeof(place), "tensor %d of ", (int)owner->tensor + 1);
    bool placed = owner->index && strstr(error, place) != NULL;
    if (owner->tensor > 0) {
        snprintf(place, sizeof(place), "after '%s'", damaged->tensors[owner->tensor - 1].name);
        placed = placed && strstr(error, place) != NULL;
    }
    if (strstr(error, quoted) != NULL || placed) {
        damaged->named = true;
    }
}

static void expect_named(struct damaged *damaged, const char *what, size_t at) {
    const char *error = dqg_context_error(damaged->fixture->context);
    if (!damaged->named && !(damaged->may_be_index && strstr(error, "header") != NULL)) {
        fail_msg("%s %zu (tensor %d): %s", what, at, (int)damaged->owners[at < damaged->size ? at : at - 1].tensor,
                 error);
    }
}

static void names_the_tensor_of_a_flipped_byte(void **state) {
    struct damaged damaged;
    prepare(&damaged, *state);
    uint8_t *bytes = malloc(damaged.size);
    for (size_t at = 0; at < damaged.size; at++) {
        memcpy(bytes, damaged.intact, damaged.size);
        bytes[at] ^= (uint8_t)(1u << at % 8);
        dqg_status status = refuse(&damaged, bytes, damaged.size, "flipped byte", at);
        assert_true(status == DQG_ERROR_CHECKSUM || damaged.owners[at].tensor < 0);
        ask(&damaged);
        may_be_at(&damaged, at);
        /* Version and index size are looked at before the hash can be. */
        if (at < DQG_HEADER_VERSION || at >= DQG_HEADER_FILE_BYTES) {
            expect_named(&damaged, "flipped byte", at);
        }
    }
    free(bytes);
    release(&damaged);
}

/* Without byte at, the file looks the same as without any other byte of a run of equal ones. */
static void names_the_tensor_of_a_removed_byte(void **state) {
    struct damaged damaged;
    prepare(&damaged, *state);
    const uint8_t *intact = damaged.intact;
    uint8_t *bytes = malloc(damaged.size);
    for (size_t at = 0; at < damaged.size; at++) {
        memcpy(bytes, intact, at);
        memcpy(bytes + at, intact + at + 1, damaged.size - at - 1);
        refuse(&damaged, bytes, damaged.size - 1, "removed byte", at);
        ask(&damaged);
        for (size_t i = at; intact[i] == intact[at]; i--) {
            may_be_at(&damaged, i);
            if (i == 0) {
                break;
            }
        }
        for (size_t i = at + 1; i < damaged.size && intact[i] == intact[at]; i++) {
            may_be_at(&damaged, i);
        }
        if (at >= DQG_HEADER_FILE_BYTES) {
            expect_named(&damaged, "removed byte", at);
        }
    }
    free(bytes);
    release(&damaged);
}

static void check_added_byte(struct damaged *damaged, uint8_t *bytes, size_t at, uint8_t value) {
    const uint8_t *intact = damaged->intact;
    memcpy(bytes, intact, at);
    bytes[at] = value;
    memcpy(bytes + at + 1, intact + at, damaged->size - at);
    refuse(damaged, bytes, damaged->size + 1, "added byte", at);
    /* Among equal bytes it could have been added before or after any; between two tensors it is either's. */
    size_t from = at, to = at;
    while (from > 0 && intact[from - 1] == value) {
        from--;
    }
    while (to < damaged->size && intact[to] == value) {
        to++;
    }
    ask(damaged);
    for (size_t i = from > 0 ? from - 1 : 0; i <= to && i < damaged->size; i++) {
        may_be_at(damaged, i);
    }
    if (at >= DQG_HEADER_FILE_BYTES) {
        expect_named(damaged, "added byte", at);
    }
}

static void names_the_tensor_of_an_added_byte(void **state) {
    struct damaged damaged;
    prepare(&damaged, *state);
    uint8_t *bytes = malloc(damaged.size + 1);
    for (size_t at = 0; at <= damaged.size; at++) {
        uint8_t next = at < damaged.size ? damaged.intact[at] : 0;
        check_added_byte(&damaged, bytes, at, next);
        check_added_byte(&damaged, bytes, at, (uint8_t)(next ^ 0x5a));
    }
    free(bytes);
    release(&damaged);
}

static void refuses_every_truncation(void **state) {
    struct damaged damaged;
    prepare(&damaged, *state);
    for (size_t size = 0; size < damaged.size; size++) {
        uint8_t *bytes = malloc(size > 0 ? size : 1);
        memcpy(bytes, damaged.intact, size);
        dqg_status status = refuse(&damaged, bytes, size, "length", size);
        assert_int_equal(status, DQG_ERROR_TRUNCATED);
        struct dqg_source source;
        assert_int_equal(io_open_bytes(damaged.fixture, bytes, size, &source), DQG_ERROR_TRUNCATED);
        if (!damaged.owners[size].index) {
            ask(&damaged);
            may_be_at(&damaged, size);
            may_be_at(&damaged, size - 1); /* a plane may end exactly here, with the padding behind it gone */
            expect_named(&damaged, "length", size);
        }
        free(bytes);
    }
    release(&damaged);
}

/* Reading the first damaged frame takes long: another lane finds the later ones before it. */
struct slow_reader {
    const uint8_t *bytes;
    uint64_t slow_from, slow_to;
};

static int32_t slow_read(void *user, uint64_t offset, void *buffer, size_t size) {
    struct slow_reader *reader = user;
    if (offset < reader->slow_to && offset + size > reader->slow_from) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    memcpy(buffer, reader->bytes + offset, size);
    return 0;
}

static dqg_status verify_slowly(struct io_fixture *fixture, struct slow_reader *slow, size_t size) {
    struct dqg_source source;
    struct dqg_input input;
    dqg_reader reader;
    DQG_INIT(&reader);
    reader.size = size;
    reader.read = slow_read;
    reader.user = slow;
    dqg_error_clear(fixture->context);
    assert_ok(dqg_input_open_reader(fixture->context, &reader, &input));
    assert_ok(dqg_source_open(fixture->context, &input, &source));
    dqg_status status = dqg_source_verify(&source);
    dqg_source_close(&source);
    return status;
}

/* The message does not depend on which lane finds which of several damaged frames first. */
static void names_the_first_of_several_damages(void **state) {
    struct io_fixture *fixture = *state;
    struct dqg_tensor_desc tensors[2];
    size_t size;
    tensors[0] = describe("sound", DQG_DTYPE_F16, 0, 1, 700000, 0, 0);
    tensors[1] = describe("broken", DQG_DTYPE_F32, 0, 1, 2000000, 0, 0);
    uint8_t *bytes = make_container(fixture, tensors, 2, &size);
    struct owner *owners = find_owners(fixture, bytes, size);
    size_t start = 0;
    while (owners[start].tensor != 1 || owners[start].index) {
        start++;
    }
    size_t first = start + (size - start) / 3;
    for (size_t at = first; at < size; at += 99991) {
        bytes[at] ^= 0x10;
    }
    struct slow_reader slow = {bytes, first, first + 1};
    char text[512] = "";
    for (int32_t threads = 1; threads <= 4; threads++) {
        assert_ok(dqg_context_set_threads(fixture->context, threads));
        assert_fails(fixture->context, io_load_bytes(fixture, bytes, size), DQG_ERROR_CHECKSUM);
        assert_true(threads == 1 || strcmp(text, dqg_context_error(fixture->context)) == 0);
        snprintf(text, sizeof(text), "%s", dqg_context_error(fixture->context));
        assert_non_null(strstr(text, "'broken'"));
        assert_fails(fixture->context, io_verify_bytes(fixture, bytes, size), DQG_ERROR_CHECKSUM);
        assert_string_equal(text, dqg_context_error(fixture->context));
        assert_fails(fixture->context, verify_slowly(fixture, &slow, size), DQG_ERROR_CHECKSUM);
        assert_memory_equal(text, dqg_context_error(fixture->context), strcspn(text, "("));
    }
    free(owners);
    free(bytes);
}

/* A large file, damaged here and there: several frames for each plane. */
static void names_the_tensor_in_large_files(void **state) {
    struct io_fixture *fixture = *state;
    struct damaged damaged = {.fixture = fixture, .count = 2};
    damaged.tensors[0] = describe("one", DQG_DTYPE_F16, 0, 1, 700001, 0, 0);
    damaged.tensors[1] = describe("two", DQG_DTYPE_INT4, 32, 2, 1000, 3000, 0);
    damaged.intact = make_container(fixture, damaged.tensors, 2, &damaged.size);
    damaged.owners = find_owners(fixture, damaged.intact, damaged.size);
    uint8_t *bytes = malloc(damaged.size + 1);
    for (size_t at = 997; at < damaged.size; at += damaged.size / 23) {
        memcpy(bytes, damaged.intact, damaged.size);
        bytes[at] ^= 0x80;
        refuse(&damaged, bytes, damaged.size, "flipped byte", at);
        ask(&damaged);
        may_be_at(&damaged, at);
        expect_named(&damaged, "flipped byte", at);
        check_added_byte(&damaged, bytes, at, (uint8_t)~damaged.intact[at]);
        memcpy(bytes, damaged.intact, at);
        memcpy(bytes + at, damaged.intact + at + 1, damaged.size - at - 1);
        assert_int_equal(refuse(&damaged, bytes, damaged.size - 1, "removed byte", at), DQG_ERROR_TRUNCATED);
        ask(&damaged);
        may_be_at(&damaged, at);
        expect_named(&damaged, "removed byte", at);
    }
    free(bytes);
    release(&damaged);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_the_tensor_of_a_flipped_byte, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(names_the_tensor_of_a_removed_byte, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(names_the_tensor_of_an_added_byte, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(refuses_every_truncation, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(names_the_first_of_several_damages, io_setup, io_teardown),
        cmocka_unit_test_setup_teardown(names_the_tensor_in_large_files, io_setup, io_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
