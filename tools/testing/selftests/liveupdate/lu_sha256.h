/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SHA-256 (FIPS 180-4), for what a user can compare with sha256sum(1).
 */
#ifndef _LU_SHA256_H
#define _LU_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct lu_sha256 {
	uint32_t state[8];
	uint64_t len;
	uint8_t block[64];
};

static const uint32_t lu_sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t lu_ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static inline uint32_t lu_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static inline void lu_sha256_block(uint32_t *state, const uint8_t *block)
{
	uint32_t w[64], v[8], t1, t2;
	int i;

	for (i = 0; i < 16; i++)
		w[i] = lu_be32(block + 4 * i);
	for (; i < 64; i++) {
		t1 = lu_ror(w[i - 2], 17) ^ lu_ror(w[i - 2], 19) ^ w[i - 2] >> 10;
		t2 = lu_ror(w[i - 15], 7) ^ lu_ror(w[i - 15], 18) ^ w[i - 15] >> 3;
		w[i] = w[i - 16] + t2 + w[i - 7] + t1;
	}
	memcpy(v, state, sizeof(v));
	for (i = 0; i < 64; i++) {
		t1 = v[7] + (lu_ror(v[4], 6) ^ lu_ror(v[4], 11) ^ lu_ror(v[4], 25)) +
		     ((v[4] & v[5]) ^ (~v[4] & v[6])) + lu_sha256_k[i] + w[i];
		t2 = (lu_ror(v[0], 2) ^ lu_ror(v[0], 13) ^ lu_ror(v[0], 22)) +
		     ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		state[i] += v[i];
}

static inline void lu_sha256_init(struct lu_sha256 *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(s->state, start, sizeof(start));
	s->len = 0;
}

static inline void lu_sha256_update(struct lu_sha256 *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t used = s->len % 64, n;

	for (s->len += len; len; len -= n, p += n, used = 0) {
		if (!used && len >= 64) {
			lu_sha256_block(s->state, p);
			n = 64;
			continue;
		}
		n = len < 64 - used ? len : 64 - used;
		memcpy(s->block + used, p, n);
		if (used + n == 64)
			lu_sha256_block(s->state, s->block);
	}
}

/* The digest as lower-case hexadecimal digits and a NUL. */
static inline void lu_sha256_final(struct lu_sha256 *s, char hex[65])
{
	static const uint8_t pad[64] = { 0x80 };
	uint64_t bits = s->len * 8;
	uint8_t len[8];
	int i;

	for (i = 0; i < 8; i++)
		len[i] = bits >> (56 - 8 * i);
	lu_sha256_update(s, pad, 1 + (119 - s->len % 64) % 64);
	lu_sha256_update(s, len, sizeof(len));
	for (i = 0; i < 8; i++)
		sprintf(hex + 8 * i, "%08x", s->state[i]);
}

#endif /* _LU_SHA256_H */
