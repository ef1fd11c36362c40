/* Stands between a process and its files: counts, fails and writes down what it does to those of one directory.
 *
 * Preloaded (LD_PRELOAD), apart from the Rust of this member because the stack has no unsafe code. Linux, 64 bits. The
 * trick is the door: to open a path below /ipa-faults/ is a command, and what can be read from it the answer, so the
 * process steers its own faults with nothing but std::fs. Reads are left alone, and so is memory that is mapped.
 *
 *   IPA_FAULTS_DIR    the directory whose files count (absolute, links resolved); those in it, not below it
 *   IPA_FAULTS_TRACE  the file that what is done to them is appended to; left out, nothing is written down
 *
 *   /ipa-faults/arm/OPS/N/once|ever/FAULT   count from here on, and let the N-th of OPS fail, or all from the N-th on
 *   /ipa-faults/disarm                      let nothing fail any more; what was counted stays
 *   /ipa-faults/counts                      what was counted since it was armed
 *   /ipa-faults/held                        wait until an operation is held, for 10 s at most
 *   /ipa-faults/release                     let it go on
 *   /ipa-faults/mark/TEXT                   put a text into the trace
 *
 *   OPS    open, write, sync, truncate, rename, unlink, several joined by '+', or any
 *   FAULT  EIO, ENOSPC: fails and has done nothing. TORN: a write does half of it, up to the end of a sector, and fails
 *          with EIO. SHORT: a write does half of it and says so. HOLD: waits for the release, then is done.
 *
 * A sync is counted, failed and written down, but not done: nothing here depends on the machine's own disk, and it is quicker.
 *
 * One lock is held around each operation, so that the trace has them in the order of their effects. */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum op { OPEN, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, OPS };
static const char *const NAMES[OPS] = {"open", "write", "sync", "truncate", "rename", "unlink"};

/* What a disk writes whole or not at all, in bytes. */
enum { SECTOR = 512 };

enum fault { NONE, FAIL_EIO, FAIL_ENOSPC, TORN, SHORT, HOLD, FAULTS };
static const char *const FAULT_NAMES[FAULTS] = {"", "EIO", "ENOSPC", "TORN", "SHORT", "HOLD"};

#define DOOR "/ipa-faults/"
#define DESCRIPTORS 4096
#define PATIENCE 10

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_length;
static int trace = -1;

/* Below the lock: what was counted since it was armed, and what is to fail. */
static unsigned long done[OPS], matched, hits;
static unsigned armed;
static unsigned long nth;
static int ever;
static enum fault fault;
static int held, release;

/* Below the lock: the number of the open behind a descriptor of ours, and 0 for others. */
static uint32_t opens[DESCRIPTORS], last_open;
/* Whether it is written down: shared memory is not, it does not outlive the machine. */
static char traced[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
    const char *from = getenv("IPA_FAULTS_DIR");
    if (from && strlen(from) < sizeof directory - 1) {
        strcpy(directory, from);
        directory_length = strlen(directory);
    }
    const char *to = getenv("IPA_FAULTS_TRACE");
    if (to) {
        trace = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (trace < 0) {
            perror("IPA_FAULTS_TRACE");
            _exit(70);
        }
    }
}

/* The name of a file in the directory; "" for the directory itself, NULL for all else. */
static const char *name_of(const char *path) {
    if (!directory_length || strncmp(path, directory, directory_length) != 0) return NULL;
    const char *rest = path + directory_length;
    if (*rest == 0) return rest;
    if (*rest != '/' || strchr(rest + 1, '/')) return NULL;
    return rest + 1;
}

static int is_shared_memory(const char *name) {
    size_t length = strlen(name);
    return length >= 4 && strcmp(name + length - 4, "-shm") == 0;
}

static uint32_t open_behind(int fd) { return fd >= 0 && fd < DESCRIPTORS ? opens[fd] : 0; }

static void put(const void *from, size_t length) {
    const char *rest = from;
    while (length) {
        ssize_t written = syscall(SYS_write, trace, rest, length);
        if (written <= 0) {
            /* A trace with a hole proves nothing. */
            static const char message[] = "ipa-faults: the trace cannot be written\n";
            syscall(SYS_write, 2, message, sizeof message - 1);
            _exit(70);
        }
        rest += written;
        length -= (size_t)written;
    }
}

/* One record: kind, open, offset, length of the data (little endian), data. */
static void note(char kind, uint32_t open, uint64_t offset, const void *data, uint32_t length) {
    if (trace < 0) return;
    unsigned char head[17] = {(unsigned char)kind};
    for (int i = 0; i < 4; i++) head[1 + i] = (unsigned char)(open >> (8 * i));
    for (int i = 0; i < 8; i++) head[5 + i] = (unsigned char)(offset >> (8 * i));
    for (int i = 0; i < 4; i++) head[13 + i] = (unsigned char)(length >> (8 * i));
    put(head, sizeof head);
    put(data, length);
}

/* Counts an operation and says what is to become of it. */
static enum fault count(enum op op) {
    done[op]++;
    if (!(armed & 1u << op)) return NONE;
    matched++;
    if (matched < nth || (matched > nth && !ever)) return NONE;
    hits++;
    if (fault != HOLD) return fault;
    held = 1;
    pthread_cond_broadcast(&changed);
    while (!release) pthread_cond_wait(&changed, &lock);
    held = 0;
    return NONE;
}

static int fail(enum fault how) {
    errno = how == FAIL_ENOSPC ? ENOSPC : EIO;
    return -1;
}

/* The door. */

static int answer(const char *text) {
    int fd = (int)syscall(SYS_memfd_create, "ipa-faults", 1u /* close on exec */);
    if (fd >= 0) {
        syscall(SYS_write, fd, text, strlen(text));
        syscall(SYS_lseek, fd, 0, SEEK_SET);
    }
    return fd;
}

static int arm(char *words) {
    char *rest = words, *ops = strtok_r(rest, "/", &rest), *count = strtok_r(NULL, "/", &rest);
    char *often = strtok_r(NULL, "/", &rest), *how = strtok_r(NULL, "/", &rest);
    if (!how) return 0;
    unsigned mask = 0;
    for (char *op = strtok_r(ops, "+", &ops); op; op = strtok_r(NULL, "+", &ops)) {
        unsigned known = strcmp(op, "any") == 0 ? (1u << OPS) - 1 : 0;
        for (int i = 0; i < OPS; i++) known |= strcmp(op, NAMES[i]) == 0 ? 1u << i : 0;
        if (!known) return 0;
        mask |= known;
    }
    enum fault kind = NONE;
    for (int i = 1; i < FAULTS; i++) kind = strcmp(how, FAULT_NAMES[i]) == 0 ? (enum fault)i : kind;
    unsigned long number = strtoul(count, NULL, 10);
    int always = strcmp(often, "ever") == 0;
    if (kind == NONE || number == 0 || (!always && strcmp(often, "once") != 0)) return 0;
    memset(done, 0, sizeof done);
    matched = hits = 0;
    armed = mask, nth = number, ever = always, fault = kind, held = release = 0;
    return 1;
}

static int command(const char *path) {
    char text[PATH_MAX];
    if (strlen(path) >= sizeof text) return errno = ENAMETOOLONG, -1;
    strcpy(text, path + strlen(DOOR));
    if (strncmp(text, "mark/", 5) == 0) {
        note('M', 0, 0, text + 5, (uint32_t)strlen(text + 5));
        return answer("");
    }
    if (strncmp(text, "arm/", 4) == 0) return arm(text + 4) ? answer("") : (errno = EINVAL, -1);
    if (strcmp(text, "disarm") == 0) {
        armed = 0;
        return answer("");
    }
    if (strcmp(text, "held") == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PATIENCE;
        int late = 0;
        while (!held && !late) late = pthread_cond_timedwait(&changed, &lock, &until);
        return held ? answer("") : (errno = ETIMEDOUT, -1);
    }
    if (strcmp(text, "release") == 0) {
        armed = 0;
        release = 1;
        pthread_cond_broadcast(&changed);
        return answer("");
    }
    if (strcmp(text, "counts") == 0) {
        int length = 0;
        for (int i = 0; i < OPS; i++)
            length += snprintf(text + length, sizeof text - (size_t)length, "%s %lu\n", NAMES[i], done[i]);
        snprintf(text + length, sizeof text - (size_t)length, "hits %lu\n", hits);
        return answer(text);
    }
    return errno = EINVAL, -1;
}

/* What stands in front of the C library. */

static int open_at(int at, const char *path, int flags, mode_t mode) {
    int is_door = strncmp(path, DOOR, strlen(DOOR)) == 0;
    const char *name = is_door ? NULL : name_of(path);
    if (!is_door && !name) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd;
    if (is_door) {
        fd = command(path);
    } else {
        enum fault how = count(OPEN);
        fd = how == NONE ? (int)syscall(SYS_openat, at, path, flags, mode) : fail(how);
        if (fd >= DESCRIPTORS) {
            syscall(SYS_close, fd);
            errno = EMFILE;
            fd = -1;
        }
        if (fd >= 0) {
            opens[fd] = ++last_open;
            traced[fd] = !is_shared_memory(name);
            if (traced[fd]) note('O', opens[fd], 0, name, (uint32_t)strlen(name));
            if (traced[fd] && flags & O_TRUNC) note('T', opens[fd], 0, NULL, 0);
        }
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE(flags, mode)                                     \
    mode_t mode = 0;                                          \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                         \
        va_start(rest, flags);                                \
        mode = va_arg(rest, mode_t);                          \
        va_end(rest);                                         \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_at(at, path, flags, mode);
}

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (open_behind(fd)) opens[fd] = 0;
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_close, fd);
}

/* At the descriptor's own place if offset is negative. */
static ssize_t write_at(int fd, const void *from, size_t length, off64_t offset) {
    pthread_mutex_lock(&lock);
    uint32_t open = open_behind(fd);
    enum fault how = open ? count(WRITE) : NONE;
    ssize_t written;
    if (!open) {
        /* Not ours, and may wait for long: a pipe. */
        pthread_mutex_unlock(&lock);
        return offset < 0 ? syscall(SYS_write, fd, from, length)
                          : syscall(SYS_pwrite64, fd, from, length, offset);
    }
    if (how == FAIL_EIO || how == FAIL_ENOSPC) {
        written = fail(how);
    } else {
        uint64_t place = (uint64_t)(offset < 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : offset);
        size_t part = how == NONE ? length : length / 2;
        if (how == TORN) {
            /* A sector is written whole or not at all. */
            uint64_t end = (place + part) / SECTOR * SECTOR;
            part = end > place ? (size_t)(end - place) : 0;
        }
        written = offset < 0 ? syscall(SYS_write, fd, from, part)
                             : syscall(SYS_pwrite64, fd, from, part, offset);
        if (written > 0 && traced[fd]) note('W', open, place, from, (uint32_t)written);
        if (how == TORN) written = fail(how);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t write(int fd, const void *from, size_t length) { return write_at(fd, from, length, -1); }

ssize_t pwrite(int fd, const void *from, size_t length, off_t offset) {
    return write_at(fd, from, length, offset);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t offset) {
    return write_at(fd, from, length, offset);
}

int ftruncate64(int fd, off64_t length) {
    pthread_mutex_lock(&lock);
    uint32_t open = open_behind(fd);
    enum fault how = open ? count(TRUNCATE) : NONE;
    int result = how == NONE ? (int)syscall(SYS_ftruncate, fd, length) : fail(how);
    if (result == 0 && open && traced[fd]) note('T', open, (uint64_t)length, NULL, 0);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Nobody needs it, and it would change a file unseen. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    (void)fd, (void)offset, (void)length;
    return EOPNOTSUPP;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int fsync(int fd) {
    pthread_mutex_lock(&lock);
    uint32_t open = open_behind(fd);
    enum fault how = open ? count(SYNC) : NONE;
    int result = how == NONE ? 0 : fail(how);
    if (open && traced[fd]) note(result == 0 ? 'S' : 'F', open, 0, NULL, 0);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fdatasync(int fd) { return fsync(fd); }

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    enum fault how = count(UNLINK);
    int result = how == NONE ? (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0) : fail(how);
    if (result == 0 && !is_shared_memory(name)) note('U', 0, 0, name, (uint32_t)strlen(name));
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) {
    const char *old = name_of(from), *new = name_of(to);
    if (!old || !new) return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    enum fault how = count(RENAME);
    int result = how == NONE ? (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) : fail(how);
    if (result == 0) {
        char names[2 * NAME_MAX + 2];
        int length = snprintf(names, sizeof names, "%s/%s", old, new);
        note('R', 0, 0, names, (uint32_t)length);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
