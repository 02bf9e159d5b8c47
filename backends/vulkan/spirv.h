/*
 * spirv.h - a writer of SPIR-V modules, word by word.
 *
 * SPIR-V is a list of instructions; each is a word with its length and number,
 * then operands. Instructions stand in sections whose order is fixed, so the
 * writer keeps one buffer for each and joins them at the end. Types, constants
 * and global variables are made on demand and once.
 *
 * Numbers are from the SPIR-V specification, version 1.5, and the extended
 * instruction set GLSL.std.450. Only what this backend emits is listed.
 */
#ifndef VULKAN_SPIRV_H
#define VULKAN_SPIRV_H

#include <stddef.h>
#include <stdint.h>

enum {
    SPV_EXT_INST_IMPORT = 11,
    SPV_EXT_INST = 12,
    SPV_MEMORY_MODEL = 14,
    SPV_ENTRY_POINT = 15,
    SPV_EXECUTION_MODE = 16,
    SPV_CAPABILITY = 17,
    SPV_TYPE_VOID = 19,
    SPV_TYPE_BOOL = 20,
    SPV_TYPE_INT = 21,
    SPV_TYPE_FLOAT = 22,
    SPV_TYPE_VECTOR = 23,
    SPV_TYPE_ARRAY = 28,
    SPV_TYPE_STRUCT = 30,
    SPV_TYPE_POINTER = 32,
    SPV_TYPE_FUNCTION = 33,
    SPV_CONSTANT = 43,
    SPV_FUNCTION = 54,
    SPV_FUNCTION_END = 56,
    SPV_VARIABLE = 59,
    SPV_LOAD = 61,
    SPV_STORE = 62,
    SPV_ACCESS_CHAIN = 65,
    SPV_DECORATE = 71,
    SPV_MEMBER_DECORATE = 72,
    SPV_COMPOSITE_EXTRACT = 81,
    SPV_COPY_OBJECT = 83,
    SPV_CONVERT_F_TO_S = 110,
    SPV_CONVERT_S_TO_F = 111,
    SPV_CONVERT_U_TO_F = 112,
    SPV_U_CONVERT = 113,
    SPV_F_CONVERT = 115,
    SPV_CONVERT_U_TO_PTR = 120,
    SPV_BITCAST = 124,
    SPV_F_NEGATE = 127,
    SPV_I_ADD = 128,
    SPV_F_ADD = 129,
    SPV_I_SUB = 130,
    SPV_F_SUB = 131,
    SPV_I_MUL = 132,
    SPV_F_MUL = 133,
    SPV_U_DIV = 134,
    SPV_F_DIV = 136,
    SPV_U_MOD = 137,
    SPV_LOGICAL_OR = 166,
    SPV_LOGICAL_AND = 167,
    SPV_LOGICAL_NOT = 168,
    SPV_SELECT = 169,
    SPV_I_EQUAL = 170,
    SPV_U_LESS_THAN = 176,
    SPV_F_ORD_EQUAL = 180,
    SPV_F_UNORD_EQUAL = 181,
    SPV_F_ORD_NOT_EQUAL = 182,
    SPV_F_UNORD_NOT_EQUAL = 183,
    SPV_F_ORD_LESS_THAN = 184,
    SPV_F_ORD_GREATER_THAN = 186,
    SPV_F_ORD_LESS_THAN_EQUAL = 188,
    SPV_F_ORD_GREATER_THAN_EQUAL = 190,
    SPV_SHIFT_RIGHT_LOGICAL = 194,
    SPV_SHIFT_RIGHT_ARITHMETIC = 195,
    SPV_SHIFT_LEFT_LOGICAL = 196,
    SPV_BITWISE_OR = 197,
    SPV_BITWISE_XOR = 198,
    SPV_BITWISE_AND = 199,
    SPV_CONTROL_BARRIER = 224,
    SPV_PHI = 245,
    SPV_LOOP_MERGE = 246,
    SPV_SELECTION_MERGE = 247,
    SPV_LABEL = 248,
    SPV_BRANCH = 249,
    SPV_BRANCH_CONDITIONAL = 250,
    SPV_RETURN = 253,
};

/* GLSL.std.450 */
enum {
    SPV_GLSL_ROUND_EVEN = 2,
    SPV_GLSL_F_ABS = 4,
    SPV_GLSL_FLOOR = 8,
    SPV_GLSL_SQRT = 31,
    SPV_GLSL_FMA = 50,
};

enum {
    SPV_STORAGE_INPUT = 1,
    SPV_STORAGE_WORKGROUP = 4,
    SPV_STORAGE_PUSH_CONSTANT = 9,
    SPV_STORAGE_PHYSICAL = 5349,
};

typedef uint32_t spv_id;

typedef struct spv_section {
    uint32_t *words;
    uint32_t count, capacity;
} spv_section;

enum {
    SPV_IN_HEAD,        /* capabilities to execution modes */
    SPV_IN_DECORATIONS, /* */
    SPV_IN_GLOBALS,     /* types, constants, variables */
    SPV_IN_CODE,        /* functions */
    SPV_SECTIONS,
};

typedef struct spv_module {
    spv_section section[SPV_SECTIONS];
    spv_id last_id;
    uint32_t failed; /* no memory: what is written from now on is lost */
} spv_module;

spv_id spv_new(spv_module *m);

/* An instruction to a section, as it is. */
void spv_write(spv_module *m, uint32_t section, uint32_t opcode, uint32_t count,
               const uint32_t *operands);

/* An instruction with a result of type `type` to the code. */
spv_id spv_compute(spv_module *m, uint32_t opcode, spv_id type, uint32_t count,
                   const uint32_t *operands);

/* A type: no two with the same operands. */
spv_id spv_type(spv_module *m, uint32_t opcode, uint32_t count,
                const uint32_t *operands);
/* A constant of one or two words, likewise. */
spv_id spv_constant(spv_module *m, spv_id type, uint32_t count,
                    const uint32_t *words);

/* All sections behind the header, in memory of the caller's (free); NULL where
 * memory ran out. */
uint32_t *spv_finish(spv_module *m, uint32_t *word_count);
void spv_free(spv_module *m);

#define SPV_COUNT_(...)                                                        \
    (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define SPV_HEAD(m, opcode, ...)                                               \
    spv_write((m), SPV_IN_HEAD, (opcode), SPV_COUNT_(__VA_ARGS__),             \
              (const uint32_t[]){__VA_ARGS__})
#define SPV_DECORATION(m, opcode, ...)                                         \
    spv_write((m), SPV_IN_DECORATIONS, (opcode), SPV_COUNT_(__VA_ARGS__),      \
              (const uint32_t[]){__VA_ARGS__})
#define SPV_GLOBAL(m, opcode, ...)                                             \
    spv_write((m), SPV_IN_GLOBALS, (opcode), SPV_COUNT_(__VA_ARGS__),          \
              (const uint32_t[]){__VA_ARGS__})
#define SPV_DO(m, opcode, ...)                                                 \
    spv_write((m), SPV_IN_CODE, (opcode), SPV_COUNT_(__VA_ARGS__),             \
              (const uint32_t[]){__VA_ARGS__})
#define SPV(m, opcode, type, ...)                                              \
    spv_compute((m), (opcode), (type), SPV_COUNT_(__VA_ARGS__),                \
                (const uint32_t[]){__VA_ARGS__})
#define SPV_TYPE(m, opcode, ...)                                               \
    spv_type((m), (opcode), SPV_COUNT_(__VA_ARGS__),                           \
             (const uint32_t[]){__VA_ARGS__})

#endif
