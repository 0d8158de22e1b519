/* Makes a disk fail as a test says: the file named by TOLLGATE_DISK holds one word, looked at before each call.
   Only files whose name has "ledger.sqlite" in it are touched. What happens is told on the file's ".told". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 4096
/* A descriptor whose sync failed, until it is closed. */
static char failed[MOST];

static int is_ours(int fd) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return strstr(name, "ledger.sqlite") != NULL;
}

static int says(const char *word) {
    char text[64] = "";
    const char *path = getenv("TOLLGATE_DISK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 && strstr(text, word) != NULL;
}

static void tell(const char *word) {
    char path[4096];
    snprintf(path, sizeof path, "%s.told", getenv("TOLLGATE_DISK"));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0) return;
    if (write(fd, word, strlen(word)) < 0) abort();
    close(fd);
}

static int synced(int fd, const char *name) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (!is_ours(fd)) return real(fd);
    if (fd < MOST && failed[fd]) tell("again\n");
    if (says("eio")) {
        if (fd < MOST) failed[fd] = 1;
        tell("eio\n");
        errno = EIO;
        return -1;
    }
    if (says("slow")) sleep(3);
    return real(fd);
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int close(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < MOST) failed[fd] = 0;
    return real(fd);
}

static ssize_t written(int fd, const void *bytes, size_t count, off64_t at, const char *name) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
    if (is_ours(fd) && says("full")) {
        tell("full\n");
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return written(fd, bytes, count, at, "pwrite"); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return written(fd, bytes, count, at, "pwrite64"); }
