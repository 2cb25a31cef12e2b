/*
 * Preloaded into a daemon: while the file that CHAOS_FSYNC names is there, one of three calls that make data durable fails with EIO and does nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_uint calls;

static int carry_out(const char *name, int file) {
  const char *flag = getenv("CHAOS_FSYNC");
  if (flag != NULL && access(flag, F_OK) == 0 && atomic_fetch_add(&calls, 1) % 3 == 2) {
    errno = EIO;
    return -1;
  }
  return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return carry_out("fsync", file); }
int fdatasync(int file) { return carry_out("fdatasync", file); }
