/*
 * A disk that a test can break, in front of a process that does not know: LD_PRELOAD=disk.so.
 *
 * Everything the process does to the files below DISK_FOLDER is done, and written into DISK_JOURNAL: which bytes were
 * written where, and what was synced. From that a test works out what a power cut may leave: all that was synced, and of
 * the rest whatever chance says (tests/scenarios/faults/disk.rs reads it). A sync is only noted, not carried out.
 *
 * The first byte of the file DISK_FAULT, shared with the test, breaks the disk while the process runs:
 *   F  it is full: what makes a file longer, or a new one, is ENOSPC
 *   R  it can only be read: EROFS
 *   E  a sync is EIO, and what it should have saved is gone at the next power cut, however often it is synced later
 *   L  it lies: syncs succeed and save nothing
 *
 * A record of the journal: u32 length of what follows the checksum, u32 checksum (FNV-1a), and then u8 kind, u64 offset,
 * u16 length of the path, path, data. Kinds: W write, T truncate to the offset, S sync, D a sync that failed, C a file that
 * is new, U a file that is gone. All in the machine's byte order. The process may be killed in the middle of the last one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536
/* Headers of a record: lengths and checksum, and the fixed part. */
#define FIXED 11

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

static const char *folder;
static size_t folder_length;
static int journal = -1;
static volatile char *fault;
/* The paths of open files below the folder. */
static char *paths[MAX_FDS];

__attribute__((constructor)) static void start(void) {
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *below = getenv("DISK_FOLDER"), *to = getenv("DISK_JOURNAL"), *broken = getenv("DISK_FAULT");
    if (!below || !to || !broken) return;
    journal = real_open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int shared = real_open(broken, O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, 1, PROT_READ, MAP_SHARED, shared, 0);
    /* A test that is not watched would find nothing: better no process at all. */
    if (journal < 0 || shared < 0 || page == MAP_FAILED) abort();
    fault = page;
    folder = below;
    folder_length = strlen(below);
}

static int is(char what) { return fault && *fault == what; }

/* Whether a path is the folder or below it. */
static int is_watched(const char *path) {
    return folder && strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

/* The shared memory of a write-ahead log is made anew after a power cut. */
static int is_kept(const char *path) {
    size_t length = strlen(path);
    return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FDS ? paths[fd] : NULL; }

static uint32_t checksum(uint32_t sum, const void *bytes, size_t length) {
    for (const unsigned char *byte = bytes; length > 0; byte++, length--) sum = (sum ^ *byte) * 16777619u;
    return sum;
}

/* One record, in one write: those of several threads do not mix. */
static void note(char kind, const char *path, uint64_t offset, const void *data, size_t length) {
    if (!is_kept(path)) return;
    int before = errno;
    uint16_t path_length = (uint16_t)strlen(path);
    char fixed[FIXED];
    fixed[0] = kind;
    memcpy(fixed + 1, &offset, 8);
    memcpy(fixed + 9, &path_length, 2);
    uint32_t head[2] = {(uint32_t)(FIXED + path_length + length), 2166136261u};
    head[1] = checksum(checksum(checksum(head[1], fixed, FIXED), path, path_length), data, length);
    struct iovec parts[4] = {{head, 8}, {fixed, FIXED}, {(void *)path, path_length}, {(void *)data, length}};
    if (writev(journal, parts, 4) != (ssize_t)(8 + head[0])) abort();
    errno = before;
}

static int refuse(int error) {
    errno = error;
    return -1;
}

static int opened(const char *path, int flags, mode_t mode) {
    if (!is_watched(path)) return real_open(path, flags, mode);
    struct stat there;
    int is_new = (flags & O_CREAT) && stat(path, &there) != 0;
    if (is('R') && (is_new || (flags & O_ACCMODE) != O_RDONLY)) return refuse(EROFS);
    if (is('F') && is_new) return refuse(ENOSPC);
    int fd = real_open(path, flags, mode);
    if (fd < 0) return fd;
    if (fd >= MAX_FDS) abort();
    paths[fd] = strdup(path);
    if (is_new) note('C', path, 0, NULL, 0);
    if (!is_new && (flags & O_TRUNC)) note('T', path, 0, NULL, 0);
    return fd;
}

#define WITH_MODE(name)                                                                                            \
    int name(const char *path, int flags, ...) {                                                                   \
        va_list rest;                                                                                              \
        va_start(rest, flags);                                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                                  \
        va_end(rest);                                                                                              \
        return opened(path, flags, mode);                                                                          \
    }
WITH_MODE(open)
WITH_MODE(open64)

int close(int fd) {
    if (path_of(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    return real_close(fd);
}

/* Whether a write of so many bytes may go on; sets errno if not. */
static int may_write(int fd, off_t offset, size_t length) {
    struct stat there;
    if (is('R')) return refuse(EROFS) == 0;
    if (is('F') && fstat(fd, &there) == 0 && offset + (off_t)length > there.st_size) return refuse(ENOSPC) == 0;
    return 1;
}

ssize_t write(int fd, const void *data, size_t length) {
    const char *path = path_of(fd);
    if (!path) return real_write(fd, data, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (!may_write(fd, offset, length)) return -1;
    ssize_t written = real_write(fd, data, length);
    if (written > 0) note('W', path, (uint64_t)offset, data, (size_t)written);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    const char *path = path_of(fd);
    if (!path) return real_pwrite(fd, data, length, offset);
    if (!may_write(fd, offset, length)) return -1;
    ssize_t written = real_pwrite(fd, data, length, offset);
    if (written > 0) note('W', path, (uint64_t)offset, data, (size_t)written);
    return written;
}
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite(fd, data, length, offset); }

int ftruncate(int fd, off_t length) {
    const char *path = path_of(fd);
    if (!path) return real_ftruncate(fd, length);
    if (is('R')) return refuse(EROFS);
    int done = real_ftruncate(fd, length);
    if (done == 0) note('T', path, (uint64_t)length, NULL, 0);
    return done;
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int synced(const char *path) {
    if (is('E')) {
        note('D', path, 0, NULL, 0);
        return refuse(EIO);
    }
    if (!is('L')) note('S', path, 0, NULL, 0);
    return 0;
}

int fsync(int fd) { return path_of(fd) ? synced(path_of(fd)) : real_fsync(fd); }
int fdatasync(int fd) { return path_of(fd) ? synced(path_of(fd)) : real_fdatasync(fd); }

int unlink(const char *path) {
    if (!is_watched(path)) return real_unlink(path);
    if (is('R')) return refuse(EROFS);
    int done = real_unlink(path);
    if (done == 0) note('U', path, 0, NULL, 0);
    return done;
}
