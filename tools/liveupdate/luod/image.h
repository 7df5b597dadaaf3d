/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The next kernel's image.
 */
#ifndef LUOD_IMAGE_H
#define LUOD_IMAGE_H

#include <stdbool.h>

void image_start(void);
int image_load(int kernel, int initrd, const char *cmdline);
int image_check(int kernel, int initrd, const char *cmdline);
bool image_loaded(void);
int image_renew(void);
int image_jump(void);
const char *image_explain(int err);

#endif /* LUOD_IMAGE_H */
