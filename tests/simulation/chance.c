// Chance of the operating system, without chance: libraries that hash with random keys and begin a choice at random do the
// same each time a seed is simulated. Loaded before a process by LD_PRELOAD.
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

// All threads of a seed on one processor, the one that PROCESSOR counts among those that may be used: only one of them
// works at a time, and to wake one on another processor takes longer than what it does. None interrupts another.
__attribute__((constructor)) static void stay(void) {
  const char *number = getenv("PROCESSOR");
  cpu_set_t allowed;
  if (!number || sched_getaffinity(0, sizeof allowed, &allowed)) return;
  int left = atoi(number) % CPU_COUNT(&allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || left-- > 0) continue;
    CPU_ZERO(&allowed);
    CPU_SET(cpu, &allowed);
    sched_setaffinity(0, sizeof allowed, &allowed);
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    return;
  }
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
  (void)flags;
  memset(buffer, 0x5a, length);
  return (ssize_t)length;
}

int getentropy(void *buffer, size_t length) {
  memset(buffer, 0x5a, length);
  return 0;
}
