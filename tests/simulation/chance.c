// Chance of the operating system, without chance: libraries that hash with random keys and begin a choice at random do the
// same each time a seed is simulated. Loaded before a process by LD_PRELOAD.
#include <string.h>
#include <sys/types.h>

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
  (void)flags;
  memset(buffer, 0x5a, length);
  return (ssize_t)length;
}

int getentropy(void *buffer, size_t length) {
  memset(buffer, 0x5a, length);
  return 0;
}
