/*
 * tensor.c - elements of any dtype and any strides, as doubles.
 */
#include "reference.h"

#include <math.h>
#include <tenon/blocks.h>

/*
 * The two half-width formats differ only in how 15 bits are shared: BF16 has 8
 * bits of exponent and 7 of fraction, F16 has 5 and 10. Rounding goes from
 * double straight to the format, to nearest even, so it happens once.
 */
static double decode_half(uint16_t bits, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    const int fraction = bits & ((1 << fraction_bits) - 1);
    double value = 0.0;
    if (exponent == (1 << exponent_bits) - 1)
        value = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        value = ldexp(fraction, 1 - bias - fraction_bits);
    else
        value = ldexp(fraction + (1 << fraction_bits),
                      exponent - bias - fraction_bits);
    return bits & 0x8000u ? -value : value;
}

static uint16_t encode_half(double value, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const uint32_t infinity = ((1u << exponent_bits) - 1u) << fraction_bits;
    const uint32_t sign = signbit(value) ? 0x8000u : 0u;
    const double size = fabs(value);
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1u << (fraction_bits - 1));
    if (isinf(value))
        return (uint16_t)(sign | infinity);
    int exponent = 0; /* size = m 2^exponent with m in [1, 2), or subnormal */
    frexp(size, &exponent);
    exponent -= 1;
    if (size == 0.0 || exponent < 1 - bias)
        exponent = 1 - bias;
    if (exponent > bias)
        return (uint16_t)(sign | infinity);
    /* Units in the last place; a carry out of the fraction lands in the
     * exponent, where it belongs. */
    const double units = nearbyint(ldexp(size, fraction_bits - exponent));
    const uint32_t bits =
        ((uint32_t)(exponent + bias - 1) << fraction_bits) + (uint32_t)units;
    return (uint16_t)(sign | (bits < infinity ? bits : infinity));
}

/* Nearest integer, ties to even, at the ends of the range where it does not
 * fit; NaN becomes 0. */
static int32_t to_integer(double value, double low, double high)
{
    if (isnan(value))
        return 0;
    const double whole = nearbyint(value);
    return (int32_t)(whole < low ? low : whole > high ? high : whole);
}

double ref_load(const ref_tensor *t, int64_t offset)
{
    switch (t->dtype) {
    case TN_F64:
        return ((const double *)t->data)[offset];
    case TN_F32:
        return (double)((const float *)t->data)[offset];
    case TN_BF16:
        return decode_half(((const uint16_t *)t->data)[offset], 8, 7);
    case TN_F16:
        return decode_half(((const uint16_t *)t->data)[offset], 5, 10);
    case TN_I32:
        return ((const int32_t *)t->data)[offset];
    case TN_U16:
        return ((const uint16_t *)t->data)[offset];
    case TN_U8:
        return ((const uint8_t *)t->data)[offset];
    case TN_I8:
        return ((const int8_t *)t->data)[offset];
    case TN_Q8_0:
        return (double)tn_q8_0_at((const tn_q8_0 *)t->data + offset / 32,
                                  (int)(offset % 32));
    case TN_Q4_K:
        return (double)tn_q4_k_at((const tn_q4_k *)t->data + offset / 256,
                                  (int)(offset % 256));
    default: /* compile() has refused other dtypes */
        return (double)NAN;
    }
}

void ref_store(const ref_tensor *t, int64_t offset, double value)
{
    switch (t->dtype) {
    case TN_F64:
        ((double *)t->data)[offset] = value;
        break;
    case TN_F32:
        ((float *)t->data)[offset] = (float)value;
        break;
    case TN_BF16:
        ((uint16_t *)t->data)[offset] = encode_half(value, 8, 7);
        break;
    case TN_F16:
        ((uint16_t *)t->data)[offset] = encode_half(value, 5, 10);
        break;
    case TN_I32:
        ((int32_t *)t->data)[offset] = to_integer(value, INT32_MIN, INT32_MAX);
        break;
    case TN_U16:
        ((uint16_t *)t->data)[offset] =
            (uint16_t)to_integer(value, 0, UINT16_MAX);
        break;
    case TN_U8:
        ((uint8_t *)t->data)[offset] = (uint8_t)to_integer(value, 0, UINT8_MAX);
        break;
    case TN_I8:
        ((int8_t *)t->data)[offset] =
            (int8_t)to_integer(value, INT8_MIN, INT8_MAX);
        break;
    default:
        break;
    }
}

int64_t ref_offset(const ref_tensor *t, int64_t i)
{
    if (t->dense)
        return i;
    int64_t offset = 0;
    for (uint32_t axis = t->rank; axis-- > 0;) {
        offset += i % t->shape[axis] * t->stride[axis];
        i /= t->shape[axis];
    }
    return offset;
}

void ref_put(const ref_node *n, uint32_t output, int64_t i, double value)
{
    const ref_tensor *t = &n->out[output];
    const int64_t offset = ref_offset(t, i);
    if (n->plan->accumulate >> output & 1u)
        value += ref_load(t, offset);
    ref_store(t, offset, value);
}

int64_t ref_size(const ref_tensor *t, uint32_t from, uint32_t to)
{
    int64_t size = 1;
    for (uint32_t axis = from; axis < to; axis++)
        size *= t->shape[axis];
    return size;
}

int64_t ref_columns(const ref_tensor *t)
{
    return t->shape[t->rank - 1];
}

int64_t ref_rows(const ref_tensor *t)
{
    return ref_size(t, 0, t->rank - 1);
}

void ref_fail(const ref_node *n, const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    tn_fail(n->error, TN_EINVALID, "%s:%d: %s: %s",
            n->plan->file ? n->plan->file : "(graph)", (int)n->plan->line,
            n->plan->name, sentence);
}

int64_t ref_index(const ref_node *n, uint32_t input, int64_t i, int64_t low,
                  int64_t count)
{
    const int64_t index = (int64_t)ref_get(&n->in[input], i);
    if (index >= low && index < count)
        return index;
    ref_fail(n, "index %lld at element %lld is outside [%lld, %lld]",
             (long long)index, (long long)i, (long long)low,
             (long long)count - 1);
    return -1;
}
