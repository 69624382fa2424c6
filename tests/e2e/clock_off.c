/* A wall clock that is off by the seconds in the file CLOCK_FILE, which may change at any time, for LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long off(void) { char t[32] = {0}; int fd = open(getenv("CLOCK_FILE"), O_RDONLY | O_CLOEXEC); if (fd < 0 || read(fd, t, 31) <= 0) abort(); close(fd); return atol(t); }
int clock_gettime(clockid_t c, struct timespec *t) { static int (*f)(clockid_t, struct timespec *); if (!f) f = dlsym(RTLD_NEXT, "clock_gettime"); int r = f(c, t); if (r == 0 && (c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE)) t->tv_sec += off(); return r; }
int gettimeofday(struct timeval *restrict t, void *restrict z) { (void)z; struct timespec s; clock_gettime(CLOCK_REALTIME, &s); t->tv_sec = s.tv_sec; t->tv_usec = s.tv_nsec / 1000; return 0; }
time_t time(time_t *t) { struct timespec s; clock_gettime(CLOCK_REALTIME, &s); if (t) *t = s.tv_sec; return s.tv_sec; }
