/*
 * gemm_madd.c - products of integers by VPMADDWD and VPADDD (gemm_integers.c),
 * where AVX2 is all there is.
 */
#include "gemm_blocks.h"

#if !defined(__AVX512F__)
#include "whole.h"

#define DOT whole_madd
#define DONE whole_done
#define TARGET
#define CALLS_NEXT 1
#include "gemm_tile.h"

const gemm_kind ISA(gemm_madd) = {.numbers = 2,
                                  .rows = ISA(gemm_rows_of_integers),
                                  .pack = ISA(gemm_pack_integers),
                                  .tile = tiles};
#endif
