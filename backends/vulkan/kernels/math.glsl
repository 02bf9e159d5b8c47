/*
 * math.glsl - exp, log and tanh within some ulp, whatever the driver's are.
 *
 * The same reductions and polynomials as emit_math.c; see there. NaN stays NaN:
 * it is known by its bits, since a driver may take max() and comparisons to
 * never see one.
 */
bool is_nan(float x)
{
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}

float power_of_two(int n)
{
    return intBitsToFloat((n + 127) << 23);
}

float exp_poly(float r)
{
    float p = fma(0.000198910799, r, 0.00139337312);
    p = fma(p, r, 0.00833331048);
    p = fma(p, r, 0.041666463);
    p = fma(p, r, 0.166666672);
    return fma(p, r, 0.5);
}

/* Of x <= 89; 0 for minus infinity and what would be below the floats. */
float exact_exp(float x)
{
    const float bounded = max(x, -104.0);
    const float n = roundEven(bounded * 1.44269502);
    precise float r = bounded - n * 0.693145752;
    r = r - n * 1.42860677e-6;
    const float tail = fma(exp_poly(r), r * r, r);
    const int whole = int(n), reach = whole >> 1;
    const float y =
        (1.0 + tail) * power_of_two(reach) * power_of_two(whole - reach);
    return is_nan(x) ? x : x < -103.97 ? 0.0 : y;
}

/* Of a positive finite number that is no smaller than 2^-126. */
float exact_log(float x)
{
    const int bits = floatBitsToInt(x) - 0x3f3504f3;
    const float n = float(bits >> 23);
    const float f = intBitsToFloat((bits & 0x007fffff) + 0x3f3504f3) - 1.0;
    float p = fma(0.0698070228, f, -0.114945464);
    p = fma(p, f, 0.116890714);
    p = fma(p, f, -0.124240376);
    p = fma(p, f, 0.142485514);
    p = fma(p, f, -0.166678503);
    p = fma(p, f, 0.200007305);
    p = fma(p, f, -0.24999997);
    p = fma(p, f, 0.333333313);
    float low = p * f * f * f;
    low = fma(-0.5, f * f, low);
    low = fma(n, 1.42860677e-6, low);
    return is_nan(x) ? x : fma(n, 0.693145752, f + low);
}

float exact_tanh(float x)
{
    const float a = min(abs(x), 9.1);
    const float n = roundEven(2.0 * a * 1.44269502);
    precise float r = 2.0 * a - n * 0.693145752;
    r = r - n * 1.42860677e-6;
    const float near = fma(exp_poly(r), r * r, r);
    const float scale = power_of_two(int(n));
    const float m = n == 0.0 ? near : fma(near, scale, scale - 1.0);
    return is_nan(x) ? x : (x < 0.0 ? -m : m) / (m + 2.0);
}
