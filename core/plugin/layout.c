/*
 * layout.c - compiles the golden layout: a moved member fails the build here.
 */
#include <tenon/layout.h>
