/*
 * attention_whole_madd.c - products of attention in whole numbers
 * (attention_whole.h) by VPMADDWD and VPADDD, where AVX2 is all there is.
 *
 * A product needs a register on its way to its sum: a tile has one vector less
 * than by VPDPWSSD.
 */
#include "attention_whole.h"

#if !defined(__AVX512F__)
#define DOT whole_madd
#define VECTORS 2
#include "attention_whole_tile.h"

const whole_products *ISA(whole_by_madd)(void)
{
    return &products;
}
#endif
