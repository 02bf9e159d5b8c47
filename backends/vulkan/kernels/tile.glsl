/*
 * tile.glsl - one tile of a matrix product by one workgroup.
 *
 * BM x BN results, each invocation TM x TN of them in registers. Operands pass
 * through shared memory in slices of BK, loaded so that neighbouring
 * invocations read neighbouring elements whichever axis is contiguous.
 * Invocation (x, y) has rows y, y + BM/TM, ... and columns x, x + BN/TN, ...,
 * so that stores are contiguous and shared memory is read without conflicts.
 */
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint BM = 64;
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 3) const uint BK = 16;
layout(constant_id = 4) const uint TM = 4;
layout(constant_id = 5) const uint TN = 4;
layout(constant_id = 6) const bool A_ALONG_K = true; /* contiguous along k */
layout(constant_id = 7) const bool B_ALONG_K = false;
layout(constant_id = 8) const bool ACCUMULATE = false;
layout(constant_id = 9) const uint A_TYPE = F32;
layout(constant_id = 10) const uint B_TYPE = F32;
layout(constant_id = 11) const uint Y_TYPE = F32;

const uint DX = BN / TN, DY = BM / TM;
const uint A_PITCH = BM + 1, B_PITCH = BN + 1;

/* Element (i, j) is number i di + j dj from the address. */
struct Matrix {
    uint64_t address;
    uint64_t di, dj;
};

shared float a_slice[BK * A_PITCH];
shared float b_slice[BK * B_PITCH];

float total[TM * TN];

float element(Matrix m, uint i, uint j, uint type)
{
    return fetch(m.address, i * m.di + j * m.dj, type);
}

void load_slices(Matrix a, Matrix b, uint row, uint column, uint rows,
                 uint columns, uint k, uint k_end)
{
    for (uint n = gl_LocalInvocationID.x; n < BM * BK; n += THREADS) {
        const uint i = A_ALONG_K ? n / BK : n % BM;
        const uint j = A_ALONG_K ? n % BK : n / BM;
        const bool inside = row + i < rows && k + j < k_end;
        a_slice[j * A_PITCH + i] = inside ? element(a, row + i, k + j, A_TYPE) : 0.0;
    }
    for (uint n = gl_LocalInvocationID.x; n < BN * BK; n += THREADS) {
        const uint i = B_ALONG_K ? n % BK : n / BN;
        const uint j = B_ALONG_K ? n / BK : n % BN;
        const bool inside = column + j < columns && k + i < k_end;
        b_slice[i * B_PITCH + j] =
            inside ? element(b, k + i, column + j, B_TYPE) : 0.0;
    }
}

void add_slices(uint x, uint y)
{
    for (uint k = 0; k < BK; k++) {
        float left[TM];
        [[unroll]] for (uint i = 0; i < TM; i++)
            left[i] = a_slice[k * A_PITCH + y + i * DY];
        [[unroll]] for (uint j = 0; j < TN; j++) {
            const float right = b_slice[k * B_PITCH + x + j * DX];
            [[unroll]] for (uint i = 0; i < TM; i++)
                total[i * TN + j] = fma(left[i], right, total[i * TN + j]);
        }
    }
}

/* total = sum of a[i, k] b[k, j] over k_begin <= k < k_end */
void multiply(Matrix a, Matrix b, uint row, uint column, uint rows,
              uint columns, uint k_begin, uint k_end)
{
    const uint x = gl_LocalInvocationID.x % DX, y = gl_LocalInvocationID.x / DX;
    [[unroll]] for (uint i = 0; i < TM * TN; i++)
        total[i] = 0.0;
    for (uint k = k_begin; k < k_end; k += BK) {
        load_slices(a, b, row, column, rows, columns, k, k_end);
        barrier();
        add_slices(x, y);
        barrier();
    }
}

/* The tile to a dense matrix of `columns` columns. */
void store(uint64_t address, uint row, uint column, uint rows, uint columns)
{
    const uint x = gl_LocalInvocationID.x % DX, y = gl_LocalInvocationID.x / DX;
    [[unroll]] for (uint i = 0; i < TM; i++) {
        const uint r = row + y + i * DY;
        [[unroll]] for (uint j = 0; j < TN; j++) {
            const uint c = column + x + j * DX;
            const uint64_t at = uint64_t(r) * columns + c;
            if (r < rows && c < columns)
                put(address, at, Y_TYPE,
                    total[i * TN + j] +
                        (ACCUMULATE ? fetch(address, at, Y_TYPE) : 0.0));
        }
    }
}
