/* SPDX-License-Identifier: MIT */
/*
 * SentencePiece models (spiece.model) of the unigram kind: a protobuf message ModelProto of which these fields are
 * read. 1: a piece (1 text, 2 score, 3 type); 2: how it was trained (3 kind, 35 bytes stand in for unknown text); 3:
 * how text is normalized (2 the charsmap).
 */
#include "text/tokenizer.h"
#include "text/varint.h"

enum { PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_USER = 4, KIND_UNIGRAM = 1, SENTINELS = 100 };

struct field {
    uint32_t number;
    uint64_t value; /* of numbers; for fixed ones the bits */
    const uint8_t *data;
    size_t size;
};

/* The next field of a message; false at its end, and where it is broken. */
static bool next_field(struct dqg_bytes *message, struct field *field) {
    if (message->failed || message->at == message->end) {
        return false;
    }
    uint64_t key = dqg_bytes_number(message);
    *field = (struct field){.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0:
        field->value = dqg_bytes_number(message);
        break;
    case 1:
        dqg_bytes_take(message, 8);
        break;
    case 2:
        field->size = (size_t)dqg_bytes_number(message);
        field->data = dqg_bytes_take(message, field->size);
        break;
    case 5:
        field->value = dqg_bytes_u32(message);
        break;
    default:
        message->failed = true;
    }
    return !message->failed;
}

static struct dqg_bytes inner(const struct field *field) {
    /* a field of another type has no data: an empty message */
    static const uint8_t nothing[1] = {0};
    const uint8_t *data = field->data != NULL ? field->data : nothing;
    return (struct dqg_bytes){data, data + field->size, false};
}

struct piece {
    const char *text;
    size_t length;
    float score;
    uint64_t type;
};

static bool read_piece(const struct field *field, struct piece *piece) {
    struct dqg_bytes message = inner(field);
    struct field part;
    *piece = (struct piece){.type = PIECE_NORMAL};
    while (next_field(&message, &part)) {
        if (part.number == 1) {
            piece->text = (const char *)part.data;
            piece->length = part.size;
        } else if (part.number == 2) {
            uint32_t bits = (uint32_t)part.value;
            memcpy(&piece->score, &bits, sizeof bits);
        } else if (part.number == 3) {
            piece->type = part.value;
        }
    }
    return !message.failed && piece->text != NULL;
}

/* Unigram models say so or nothing. */
static bool read_training(const struct field *field, struct dqg_tokenizer *tokenizer, uint64_t *kind) {
    struct dqg_bytes message = inner(field);
    struct field part;
    while (next_field(&message, &part)) {
        if (part.number == 3) {
            *kind = part.value;
        } else if (part.number == 35) {
            tokenizer->byte_fallback = part.value != 0;
        }
    }
    return !message.failed;
}

static dqg_status broken(struct dqg_context *context, size_t piece) {
    return dqg_fail(
        context, DQG_ERROR_FORMAT,
        "not a vocabulary of a known kind (tokenizer.json, vocab.json, spiece.model, packed), or damaged: as "
        "spiece.model it is broken behind piece %zu",
        piece);
}

static dqg_status add_piece(struct dqg_context *context, struct dqg_tokenizer *tokenizer, const struct field *field) {
    struct piece piece;
    struct dqg_strings *pieces = &tokenizer->pieces, *specials = &tokenizer->specials;
    int32_t id = (int32_t)pieces->count;
    if (!read_piece(field, &piece)) {
        return broken(context, pieces->count);
    }
    DQG_TRY(dqg_tokenizer_keep(context, tokenizer, pieces, piece.text, piece.length, id, piece.score));
    if (piece.type == PIECE_UNKNOWN) {
        tokenizer->ids.unknown = id;
    }
    if (piece.type >= PIECE_UNKNOWN && piece.type <= PIECE_USER) {
        const struct dqg_string *kept = &pieces->items[id];
        specials->items[specials->count++] = *kept;
        if (kept->length == 4 && memcmp(kept->text, "</s>", 4) == 0) {
            tokenizer->ids.eos = id;
        } else if (kept->length == 5 && memcmp(kept->text, "<pad>", 5) == 0) {
            tokenizer->ids.pad = id;
        }
    }
    return DQG_OK;
}

/* <extra_id_0> to <extra_id_99>, which T5 has behind its pieces, the last one first; pieces themselves, of score 0. */
static dqg_status add_sentinels(struct dqg_context *context, struct dqg_tokenizer *tokenizer) {
    static const char prefix[] = "<extra_id_";
    struct dqg_strings *pieces = &tokenizer->pieces, *specials = &tokenizer->specials;
    for (size_t i = 0; i < specials->count; i++) { /* the model may bring its own */
        if (specials->items[i].length >= sizeof prefix &&
            memcmp(specials->items[i].text, prefix, sizeof prefix - 1) == 0) {
            return DQG_OK;
        }
    }
    for (int i = SENTINELS - 1; i >= 0; i--) {
        char name[24];
        size_t length = dqg_format(name, sizeof name, "<extra_id_%d>", i);
        DQG_TRY(dqg_tokenizer_keep(context, tokenizer, pieces, name, length, (int32_t)pieces->count, 0));
        specials->items[specials->count++] = pieces->items[pieces->count - 1];
    }
    return DQG_OK;
}

dqg_status dqg_tokenizer_read_pieces(struct dqg_context *context, const uint8_t *data, size_t size,
                                     struct dqg_tokenizer *tokenizer) {
    struct dqg_bytes message = {data, data + size, false};
    struct field field;
    size_t count = 0;
    uint64_t kind = KIND_UNIGRAM;
    bool rules_found = false; /* models always have them, behind their pieces */
    tokenizer->kind = DQG_TOKENIZER_UNIGRAM;
    while (next_field(&message, &field)) {
        count += field.number == 1;
    }
    if (message.failed || count == 0 || count > DQG_PIECES_MAX) {
        return broken(context, count);
    }
    DQG_TRY(dqg_tokenizer_memory(context, tokenizer, count + SENTINELS, sizeof(struct dqg_string),
                                 &tokenizer->pieces.items));
    DQG_TRY(dqg_tokenizer_memory(context, tokenizer, count + SENTINELS, sizeof(struct dqg_string),
                                 &tokenizer->specials.items));
    message = (struct dqg_bytes){data, data + size, false};
    while (next_field(&message, &field)) {
        if (field.number == 1) {
            DQG_TRY(add_piece(context, tokenizer, &field));
        } else if (field.number == 2 && !read_training(&field, tokenizer, &kind)) {
            return broken(context, tokenizer->pieces.count);
        } else if (field.number == 3) {
            struct dqg_bytes rules = inner(&field);
            rules_found = true;
            for (struct field part; next_field(&rules, &part);) {
                if (part.number == 2 && part.data != NULL) {
                    DQG_TRY(dqg_charsmap_read(context, tokenizer, part.data, part.size));
                }
            }
        }
    }
    if (!rules_found) {
        return broken(context, tokenizer->pieces.count);
    }
    if (kind != KIND_UNIGRAM) {
        return dqg_fail(context, DQG_ERROR_UNSUPPORTED,
                        "a SentencePiece model of kind %llu; only unigram is understood", (unsigned long long)kind);
    }
    return add_sentinels(context, tokenizer);
}
