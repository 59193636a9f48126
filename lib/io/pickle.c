/* SPDX-License-Identifier: MIT */
/*
 * The machine that runs pickles of protocols 2 to 5, as far as plain data and state dicts need it. Its instructions
 * move values between a stack, lists and dicts, and a memo; none of them does anything else. After a failure every
 * function gives harmless values, and the loop ends. Used by torch.c.
 */
#include "io/pickle.h"
#include "io/bytes.h"

enum { STACK_MAX = 1000000, TEXT_MAX = 1 << 20 };

struct dqg_pickle_value *dqg_pickle_fail(struct dqg_pickle *pickle, dqg_status status, const char *error) {
    if (pickle->status >= 0) {
        pickle->status = status;
        pickle->error = error;
    }
    return &pickle->none;
}

/* ---- memory ---- */

static bool charge(struct dqg_pickle *pickle, size_t size) {
    if (pickle->status < 0) {
        return false;
    }
    if (size > pickle->left) {
        dqg_pickle_fail(pickle, DQG_ERROR_LIMIT, "it holds more objects than its size allows");
        return false;
    }
    pickle->left -= size;
    return true;
}

void *dqg_pickle_alloc(struct dqg_pickle *pickle, size_t size) {
    size_t rounded;
    if (!dqg_add_size(size, 15, &rounded) || !charge(pickle, rounded & ~(size_t)15)) {
        return NULL;
    }
    void *memory = dqg_arena_alloc(pickle->alloc, &pickle->arena, size);
    if (memory == NULL) {
        dqg_pickle_fail(pickle, DQG_ERROR_MEMORY, "out of memory");
    }
    return memory;
}

struct dqg_pickle_value *dqg_pickle_new(struct dqg_pickle *pickle, enum dqg_pickle_kind kind) {
    struct dqg_pickle_value *value = dqg_pickle_alloc(pickle, sizeof *value);
    if (value == NULL) {
        return &pickle->none;
    }
    value->kind = kind;
    return value;
}

/* A table of pointers with room for want more than it had; the old one goes. */
static bool grow(struct dqg_pickle *pickle, struct dqg_pickle_value ***table, size_t *capacity, size_t want) {
    size_t larger = *capacity < 64 ? 128 : *capacity * 2;
    larger = larger > want ? larger : want;
    if (want <= *capacity) {
        return true;
    }
    if (larger > SIZE_MAX / sizeof **table || !charge(pickle, larger * sizeof **table)) {
        return false;
    }
    struct dqg_pickle_value **grown = dqg_calloc(pickle->alloc, larger, sizeof *grown);
    if (grown == NULL) {
        dqg_pickle_fail(pickle, DQG_ERROR_MEMORY, "out of memory");
        return false;
    }
    if (*table != NULL) {
        memcpy(grown, *table, *capacity * sizeof *grown);
        dqg_free(pickle->alloc, *table, *capacity * sizeof *grown);
        pickle->left += *capacity * sizeof *grown;
    }
    *table = grown;
    *capacity = larger;
    return true;
}

void dqg_pickle_append(struct dqg_pickle *pickle, struct dqg_pickle_value *list, struct dqg_pickle_value *item) {
    if (list->list.count == list->list.capacity) {
        size_t capacity = list->list.capacity < 2 ? 4 : 2 * list->list.capacity;
        struct dqg_pickle_value **items = dqg_pickle_alloc(pickle, capacity * sizeof *items);
        if (items == NULL) {
            return;
        }
        if (list->list.count > 0) {
            memcpy(items, list->list.items, list->list.count * sizeof *items);
        }
        list->list.items = items;
        list->list.capacity = capacity;
    }
    list->list.items[list->list.count++] = item;
}

bool dqg_pickle_is_text(const struct dqg_pickle_value *value, const char *text) {
    return (value->kind == DQG_PICKLE_TEXT || value->kind == DQG_PICKLE_GLOBAL) && value->text.length == strlen(text) &&
           memcmp(value->text.data, text, value->text.length) == 0;
}

/* ---- input ---- */

/* The next size bytes, or NULL. */
static const uint8_t *take(struct dqg_pickle *pickle, uint64_t size) {
    if (pickle->status < 0 || size > pickle->size - pickle->at) {
        dqg_pickle_fail(pickle, DQG_ERROR_TRUNCATED, "it ends inside an instruction");
        return NULL;
    }
    pickle->at += (size_t)size;
    return pickle->data + pickle->at - (size_t)size;
}

/* An unsigned number of up to 8 bytes; 0 after a failure. */
static uint64_t take_number(struct dqg_pickle *pickle, int bytes) {
    const uint8_t *at = take(pickle, (uint64_t)bytes);
    uint64_t value = 0;
    for (int i = 0; at != NULL && i < bytes; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

static const char *take_line(struct dqg_pickle *pickle, size_t *length) {
    const uint8_t *from = pickle->data + pickle->at;
    const uint8_t *end = pickle->status < 0 ? NULL : memchr(from, '\n', pickle->size - pickle->at);
    *length = 0;
    if (end == NULL) {
        dqg_pickle_fail(pickle, DQG_ERROR_TRUNCATED, "it ends inside a line");
        return "";
    }
    *length = (size_t)(end - from);
    pickle->at += *length + 1;
    return (const char *)from;
}

/* ---- stack and memo ---- */

static void push(struct dqg_pickle *pickle, struct dqg_pickle_value *value) {
    if (pickle->stack_count == STACK_MAX) {
        dqg_pickle_fail(pickle, DQG_ERROR_LIMIT, "its stack grows too high");
    } else if (grow(pickle, &pickle->stack, &pickle->stack_capacity, pickle->stack_count + 1)) {
        pickle->stack[pickle->stack_count++] = value;
    }
}

static struct dqg_pickle_value *top(struct dqg_pickle *pickle) {
    if (pickle->stack_count == 0 || pickle->stack[pickle->stack_count - 1]->kind == DQG_PICKLE_MARK) {
        return dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "it takes more from its stack than there is");
    }
    return pickle->stack[pickle->stack_count - 1];
}

static struct dqg_pickle_value *pop(struct dqg_pickle *pickle) {
    struct dqg_pickle_value *value = top(pickle);
    pickle->stack_count -= pickle->status >= 0;
    return value;
}

/* Number of the first value above the last mark. */
static size_t find_mark(struct dqg_pickle *pickle) {
    size_t at = pickle->stack_count;
    while (at > 0 && pickle->stack[at - 1]->kind != DQG_PICKLE_MARK) {
        at--;
    }
    if (at == 0) {
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "a mark is missing on its stack");
    }
    return at;
}

/* The values above the last mark as a list, and the mark, go. */
static struct dqg_pickle_value *pop_to_mark(struct dqg_pickle *pickle, enum dqg_pickle_kind kind) {
    size_t from = find_mark(pickle);
    struct dqg_pickle_value *list = dqg_pickle_new(pickle, kind);
    if (pickle->status < 0) {
        return list;
    }
    size_t count = pickle->stack_count - from;
    if (count > 0) {
        list->list.items = dqg_pickle_alloc(pickle, count * sizeof *list->list.items);
        if (list->list.items == NULL) {
            return list;
        }
        memcpy(list->list.items, pickle->stack + from, count * sizeof *list->list.items);
    }
    list->list.count = list->list.capacity = count;
    pickle->stack_count = from - 1;
    return list;
}

/* Under the next number, or one that follows in so many bytes. */
static void remember(struct dqg_pickle *pickle, int bytes) {
    uint64_t number = bytes == 0 ? pickle->memo_count : take_number(pickle, bytes);
    struct dqg_pickle_value *value = top(pickle);
    if (number >= pickle->size) { /* each takes two bytes of pickle at least */
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "it remembers under an impossible number");
    } else if (grow(pickle, &pickle->memo, &pickle->memo_capacity, (size_t)number + 1)) {
        pickle->memo_count += pickle->memo[number] == NULL;
        pickle->memo[number] = value;
    }
}

static void recall(struct dqg_pickle *pickle, int bytes) {
    uint64_t number = take_number(pickle, bytes);
    if (number >= pickle->memo_capacity || pickle->memo[number] == NULL) {
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "it recalls what it never remembered");
    } else {
        push(pickle, pickle->memo[number]);
    }
}

/* ---- instructions ---- */

/* Each takes a number that its code implies: bytes of a length, values of a tuple, a kind. */

static void push_int(struct dqg_pickle *pickle, int64_t number) {
    struct dqg_pickle_value *value = dqg_pickle_new(pickle, DQG_PICKLE_INT);
    value->integer = pickle->status < 0 ? 0 : number;
    push(pickle, value);
}

static void push_unsigned(struct dqg_pickle *pickle, int bytes) {
    push_int(pickle, (int64_t)take_number(pickle, bytes));
}

static void push_signed(struct dqg_pickle *pickle, int bytes) {
    push_int(pickle, (int32_t)(uint32_t)take_number(pickle, bytes));
}

static void push_bool(struct dqg_pickle *pickle, int value) {
    push_int(pickle, value);
}

static void push_new(struct dqg_pickle *pickle, int kind) {
    push(pickle, dqg_pickle_new(pickle, (enum dqg_pickle_kind)kind));
}

/* Python's integers have any length; those of more than 64 bits are of no use here. */
static void push_long(struct dqg_pickle *pickle, int length_bytes) {
    uint64_t size = take_number(pickle, length_bytes), number = 0;
    const uint8_t *at = take(pickle, size);
    if (at == NULL || size > 8) {
        push_new(pickle, DQG_PICKLE_OPAQUE);
        return;
    }
    for (uint64_t i = 0; i < 8; i++) {
        uint8_t sign = size > 0 && (at[size - 1] & 0x80) != 0 ? 0xff : 0;
        number |= (uint64_t)(i < size ? at[i] : sign) << 8 * i;
    }
    push_int(pickle, (int64_t)number);
}

/* In decimal; Python 2 writes long integers with an L, and truth values as 00 and 01. */
static void push_int_line(struct dqg_pickle *pickle, int unused) {
    size_t length;
    int64_t number;
    const char *line = take_line(pickle, &length);
    (void)unused;
    length -= length > 0 && line[length - 1] == 'L';
    if (dqg_parse_int64(line, length, &number)) {
        push_int(pickle, number);
    } else {
        push_new(pickle, DQG_PICKLE_OPAQUE);
    }
}

static void push_bytes(struct dqg_pickle *pickle, enum dqg_pickle_kind kind, const char *data, uint64_t length) {
    struct dqg_pickle_value *value = dqg_pickle_new(pickle, kind);
    if (length > TEXT_MAX) {
        dqg_pickle_fail(pickle, DQG_ERROR_LIMIT, "it holds a text of more than a million bytes");
    }
    if (pickle->status >= 0) {
        value->text.data = data;
        value->text.length = (size_t)length;
    }
    push(pickle, value);
}

static void push_text(struct dqg_pickle *pickle, int length_bytes) {
    uint64_t length = take_number(pickle, length_bytes);
    const uint8_t *data = take(pickle, length);
    push_bytes(pickle, DQG_PICKLE_TEXT, (const char *)data, length);
}

/* Quotes of a text are dropped; what is escaped stays so. */
static void push_text_line(struct dqg_pickle *pickle, int quoted) {
    size_t length;
    const char *line = take_line(pickle, &length);
    bool both = quoted != 0 && length >= 2 && line[0] == line[length - 1];
    push_bytes(pickle, DQG_PICKLE_TEXT, both ? line + 1 : line, both ? length - 2 : length);
}

/* "module\nname\n" stands in the pickle. */
static void push_global(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    size_t module_length, name_length;
    const char *module = take_line(pickle, &module_length);
    take_line(pickle, &name_length);
    push_bytes(pickle, DQG_PICKLE_GLOBAL, module, module_length + 1 + name_length);
}

static void push_stack_global(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    const struct dqg_pickle_value *name = pop(pickle), *module = pop(pickle);
    if (name->kind != DQG_PICKLE_TEXT || module->kind != DQG_PICKLE_TEXT) {
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "the name of a global is no text");
        return;
    }
    size_t length = module->text.length + 1 + name->text.length;
    char *text = dqg_pickle_alloc(pickle, length);
    if (text != NULL) {
        memcpy(text, module->text.data, module->text.length);
        text[module->text.length] = '\n';
        memcpy(text + module->text.length + 1, name->text.data, name->text.length);
        push_bytes(pickle, DQG_PICKLE_GLOBAL, text, length);
    }
}

/* count values from the stack as a tuple. */
static void push_tuple(struct dqg_pickle *pickle, int count) {
    struct dqg_pickle_value *items[3], *tuple = dqg_pickle_new(pickle, DQG_PICKLE_LIST);
    for (int i = count; i > 0; i--) {
        items[i - 1] = pop(pickle);
    }
    for (int i = 0; i < count && pickle->status >= 0; i++) {
        dqg_pickle_append(pickle, tuple, items[i]);
    }
    push(pickle, tuple);
}

/* Lists take each item, dicts keys and values in turn; what is opaque takes nothing. */
static void extend(struct dqg_pickle *pickle, const struct dqg_pickle_value *items) {
    struct dqg_pickle_value *target = top(pickle);
    if (target->kind == DQG_PICKLE_DICT && items->list.count % 2 != 0) {
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "a key has no value");
    }
    bool takes = target->kind == DQG_PICKLE_LIST || target->kind == DQG_PICKLE_DICT;
    for (size_t i = 0; takes && i < items->list.count && pickle->status >= 0; i++) {
        dqg_pickle_append(pickle, target, items->list.items[i]);
    }
}

static void extend_by(struct dqg_pickle *pickle, int count) {
    struct dqg_pickle_value *items[2];
    for (int i = count; i > 0; i--) {
        items[i - 1] = pop(pickle);
    }
    const struct dqg_pickle_value list = {.kind = DQG_PICKLE_LIST, .list = {items, (size_t)count, (size_t)count}};
    if (pickle->status >= 0) {
        extend(pickle, &list);
    }
}

static void extend_to_mark(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    const struct dqg_pickle_value *items = pop_to_mark(pickle, DQG_PICKLE_LIST);
    if (pickle->status >= 0) {
        extend(pickle, items);
    }
}

/* A function or class, and its arguments, become what they give. */
static void call(struct dqg_pickle *pickle, int extra) {
    for (int i = 0; i < extra; i++) {
        pop(pickle);
    }
    const struct dqg_pickle_value *arguments = pop(pickle), *global = pop(pickle);
    if (pickle->status < 0) {
        return;
    }
    bool known = global->kind == DQG_PICKLE_GLOBAL && arguments->kind == DQG_PICKLE_LIST;
    push(pickle, known ? pickle->call(pickle, global, arguments) : dqg_pickle_new(pickle, DQG_PICKLE_OPAQUE));
}

static void push_persistent(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    const struct dqg_pickle_value *id = pop(pickle);
    if (pickle->status >= 0) {
        push(pickle, pickle->persistent(pickle, id));
    }
}

static void push_mark(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    push(pickle, &pickle->mark);
}

static void push_marked(struct dqg_pickle *pickle, int kind) {
    push(pickle, pop_to_mark(pickle, (enum dqg_pickle_kind)kind));
}

static void push_again(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    push(pickle, top(pickle));
}

/* What is on top, even a mark. */
static void drop(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    if (pickle->stack_count > 0 && pickle->stack[pickle->stack_count - 1] == &pickle->mark) {
        pickle->stack_count--;
    } else {
        pop(pickle);
    }
}

static void drop_to_mark(struct dqg_pickle *pickle, int unused) {
    (void)unused;
    pop_to_mark(pickle, DQG_PICKLE_LIST);
}

static void skip(struct dqg_pickle *pickle, int bytes) {
    take(pickle, (uint64_t)bytes);
}

static void push_float_line(struct dqg_pickle *pickle, int unused) {
    size_t length;
    (void)unused;
    take_line(pickle, &length);
    push_new(pickle, DQG_PICKLE_OPAQUE);
}

static void push_float(struct dqg_pickle *pickle, int bytes) {
    skip(pickle, bytes);
    push_new(pickle, DQG_PICKLE_OPAQUE);
}

/* By code; those that are missing are refused. */
static const struct {
    void (*run)(struct dqg_pickle *pickle, int argument);
    int argument;
} instructions[256] = {
    ['N'] = {push_new, DQG_PICKLE_NONE},
    [0x88] = {push_bool, 1}, /* NEWTRUE, NEWFALSE */
    [0x89] = {push_bool, 0},
    ['K'] = {push_unsigned, 1}, /* BININT1, BININT2, BININT, INT, LONG */
    ['M'] = {push_unsigned, 2},
    ['J'] = {push_signed, 4},
    ['I'] = {push_int_line, 0},
    ['L'] = {push_int_line, 0},
    [0x8a] = {push_long, 1}, /* LONG1, LONG4 */
    [0x8b] = {push_long, 4},
    ['G'] = {push_float, 8}, /* BINFLOAT, FLOAT */
    ['F'] = {push_float_line, 0},
    ['U'] = {push_text, 1}, /* texts and bytes, their lengths in 1, 4 and 8 bytes */
    ['C'] = {push_text, 1},
    [0x8c] = {push_text, 1},
    ['T'] = {push_text, 4},
    ['B'] = {push_text, 4},
    ['X'] = {push_text, 4},
    [0x8d] = {push_text, 8},
    [0x8e] = {push_text, 8},
    ['S'] = {push_text_line, 1},
    ['V'] = {push_text_line, 0},
    ['c'] = {push_global, 0},
    [0x93] = {push_stack_global, 0},
    ['('] = {push_mark, 0},
    [')'] = {push_new, DQG_PICKLE_LIST},
    [']'] = {push_new, DQG_PICKLE_LIST},
    ['}'] = {push_new, DQG_PICKLE_DICT},
    [0x8f] = {push_new, DQG_PICKLE_OPAQUE}, /* EMPTY_SET; FROZENSET */
    [0x91] = {push_marked, DQG_PICKLE_LIST},
    ['t'] = {push_marked, DQG_PICKLE_LIST},
    ['l'] = {push_marked, DQG_PICKLE_LIST},
    [0x85] = {push_tuple, 1},
    [0x86] = {push_tuple, 2},
    [0x87] = {push_tuple, 3},
    ['a'] = {extend_by, 1}, /* APPEND, SETITEM; APPENDS, SETITEMS, ADDITEMS */
    ['s'] = {extend_by, 2},
    ['e'] = {extend_to_mark, 0},
    ['u'] = {extend_to_mark, 0},
    [0x90] = {extend_to_mark, 0},
    ['R'] = {call, 0}, /* REDUCE, NEWOBJ; NEWOBJ_EX has arguments by name, too */
    [0x81] = {call, 0},
    [0x92] = {call, 1},
    ['b'] = {drop, 0}, /* BUILD: a state that nobody needs */
    ['Q'] = {push_persistent, 0},
    ['0'] = {drop, 0},
    ['1'] = {drop_to_mark, 0},
    ['2'] = {push_again, 0},
    ['q'] = {remember, 1}, /* BINPUT, LONG_BINPUT, MEMOIZE */
    ['r'] = {remember, 4},
    [0x94] = {remember, 0},
    ['h'] = {recall, 1}, /* BINGET, LONG_BINGET */
    ['j'] = {recall, 4},
    [0x95] = {skip, 8}, /* FRAME: of use to readers of streams */
};

static void begin(struct dqg_pickle *pickle) {
    pickle->mark.kind = DQG_PICKLE_MARK;
    pickle->stack_count = pickle->memo_count = 0;
    for (size_t i = 0; i < pickle->memo_capacity; i++) {
        pickle->memo[i] = NULL;
    }
    const uint8_t *protocol = take(pickle, 2);
    if (protocol != NULL && (protocol[0] != 0x80 || protocol[1] < 2 || protocol[1] > 5)) {
        dqg_pickle_fail(pickle, DQG_ERROR_FORMAT, "it is not of protocol 2, 3, 4 or 5");
    }
}

struct dqg_pickle_value *dqg_pickle_run(struct dqg_pickle *pickle) {
    begin(pickle);
    while (pickle->status >= 0) {
        uint8_t code = (uint8_t)take_number(pickle, 1);
        if (code == '.') {
            break;
        }
        if (instructions[code].run != NULL) {
            instructions[code].run(pickle, instructions[code].argument);
        } else {
            dqg_pickle_fail(pickle, DQG_ERROR_UNSUPPORTED, "it has an instruction that state dicts do not need");
        }
    }
    return pop(pickle);
}

void dqg_pickle_free(struct dqg_pickle *pickle) {
    dqg_free(pickle->alloc, pickle->stack, pickle->stack_capacity * sizeof *pickle->stack);
    dqg_free(pickle->alloc, pickle->memo, pickle->memo_capacity * sizeof *pickle->memo);
    dqg_arena_free(pickle->alloc, &pickle->arena);
}
