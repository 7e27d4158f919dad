// Goes before all other libraries (LD_PRELOAD), in the place of Android's linker: what lies beside it is the phone's.
//
// A JVM opens libraries lazily and binds them to whatever the process has; Android binds each at once, to its own
// dependencies. So whatever is opened from this directory is bound that way, with the C library of this directory
// (bionic.c) in place of glibc. What they need is found by LD_LIBRARY_PATH, in the order in which Android finds it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
// Android keeps its stack guard 40 bytes behind the thread pointer, where glibc has the first library's variables: these
// never change, as no guard does.
__attribute__((tls_model("initial-exec"), aligned(16))) __thread char bionic_thread_slots[64];
char *bionic_thread(void) { return bionic_thread_slots; }
#endif

static void *(*real_dlopen)(const char *, int);
static char here[PATH_MAX];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *const SYSTEM[] = {"libc.so", "libm.so", "libdl.so", "liblog.so", "libandroid.so"};

__attribute__((constructor)) static void find_itself(void) {
    Dl_info self;
    real_dlopen = dlsym(RTLD_NEXT, "dlopen");
    if (!dladdr(here, &self) || !realpath(self.dli_fname, here) || !strrchr(here, '/')) abort();
    *strrchr(here, '/') = 0;
}

static void open_system(void) {
    char path[PATH_MAX + 16];
    for (size_t i = 0; i < sizeof SYSTEM / sizeof *SYSTEM; i++) {
        snprintf(path, sizeof path, "%s/%s", here, SYSTEM[i]);
        // Not deeply: the C library's own calls are glibc's.
        if (!real_dlopen(path, RTLD_NOW)) {
            fprintf(stderr, "linker: %s\n", dlerror());
            abort();
        }
    }
}

static int is_the_phones(const char *path) {
    char directory[PATH_MAX], real[PATH_MAX];
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || (size_t)(slash - path) >= sizeof directory) return 0;
    memcpy(directory, path, slash - path);
    directory[slash - path] = 0;
    return realpath(directory, real) && !strcmp(real, here);
}

void *dlopen(const char *path, int flags) {
    if (!is_the_phones(path)) return real_dlopen(path, flags);
    pthread_once(&once, open_system);
    return real_dlopen(path, (flags & ~RTLD_LAZY) | RTLD_NOW | RTLD_DEEPBIND);
}
