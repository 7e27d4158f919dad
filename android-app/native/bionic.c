// What Android's C library has and glibc has not, or has with another layout: libc.so for the phone's libraries, here.
// All else that they ask for is forwarded to glibc (forward.py).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <ftw.h>
#include <libgen.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wchar.h>

// ---- the standard streams: bionic before API 23 has an array of them, 152 bytes each, in place of pointers
#if __SIZEOF_POINTER__ == 8
#define FILE_SIZE 152
#else
#define FILE_SIZE 84
#endif
char __sF[3 * FILE_SIZE];
#undef stdin
#undef stdout
#undef stderr
#define OWN __attribute__((visibility("protected")))  // not glibc's own of that name
OWN FILE *stdin, *stdout, *stderr;

static FILE *stream(void *file) {
    size_t offset = (char *)file - __sF;
    if ((char *)file < __sF || offset >= sizeof __sF) return file;
    return offset < FILE_SIZE ? stdin : offset < 2 * FILE_SIZE ? stdout : stderr;
}

#define STREAM_LAST(type, name, first) \
    static type (*real_##name)(first, FILE *); \
    type name(first a, FILE *f) { return real_##name(a, stream(f)); }
#define STREAM_FIRST(type, name) \
    static type (*real_##name)(FILE *); \
    type name(FILE *f) { return real_##name(stream(f)); }
#undef getc
#undef feof
STREAM_LAST(int, fputc, int)
STREAM_LAST(int, fputs, const char *)
STREAM_LAST(int, ungetc, int)
STREAM_LAST(wint_t, fputwc, wchar_t)
STREAM_LAST(wint_t, ungetwc, wint_t)
STREAM_FIRST(int, getc)
STREAM_FIRST(wint_t, getwc)
STREAM_FIRST(int, fflush)
STREAM_FIRST(int, fclose)
STREAM_FIRST(int, ferror)
STREAM_FIRST(int, fileno)
static int (*real_vfprintf)(FILE *, const char *, va_list);
static size_t (*real_fwrite)(const void *, size_t, size_t, FILE *);
static int (*real_setvbuf)(FILE *, char *, int, size_t);
int vfprintf(FILE *f, const char *format, va_list rest) { return real_vfprintf(stream(f), format, rest); }
int fprintf(FILE *f, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    int n = real_vfprintf(stream(f), format, rest);
    va_end(rest);
    return n;
}
size_t fwrite(const void *p, size_t size, size_t n, FILE *f) { return real_fwrite(p, size, n, stream(f)); }
int setvbuf(FILE *f, char *p, int mode, size_t size) { return real_setvbuf(stream(f), p, mode, size); }

// ---- numbers that differ
static long (*real_sysconf)(int);
long sysconf(int name) {
    switch (name) {
        case 0x06: return real_sysconf(_SC_CLK_TCK);
        case 0x0b: return real_sysconf(_SC_OPEN_MAX);
        case 0x27: case 0x28: return real_sysconf(_SC_PAGESIZE);
        case 0x48: return real_sysconf(_SC_GETPW_R_SIZE_MAX);
        case 0x60: return real_sysconf(_SC_NPROCESSORS_CONF);
        case 0x61: return real_sysconf(_SC_NPROCESSORS_ONLN);
        case 0x62: return real_sysconf(_SC_PHYS_PAGES);
        case 0x63: return real_sysconf(_SC_AVPHYS_PAGES);
    }
    fprintf(stderr, "bionic: sysconf(%#x) is not mapped\n", name);
    errno = EINVAL;
    return -1;
}
static int (*real_nftw)(const char *, __nftw_func_t, int, int);
int nftw(const char *dir, __nftw_func_t f, int fds, int flags) {
    // FTW_DEPTH is 4 and FTW_CHDIR 8 there, and the other way round here.
    return real_nftw(dir, f, fds, (flags & 3) | (flags & 4 ? FTW_DEPTH : 0) | (flags & 8 ? FTW_CHDIR : 0));
}

// ---- structures that differ: a sigset_t is one word there
int sigfillset(unsigned long *set) { *set = ~0ul; return 0; }
int sigemptyset(unsigned long *set) { *set = 0; return 0; }
int pthread_sigmask(int how, const unsigned long *set, unsigned long *old) {
    // The kernel's way; glibc's own two signals (32, 33) stay as they are.
    unsigned long mask = 0;
    if (set) mask = how == 1 ? *set : *set & ~(3ul << 31);
    return syscall(SYS_rt_sigprocmask, how, set ? &mask : NULL, old, sizeof mask) ? errno : 0;
}

#if defined(__aarch64__)
// glibc clears 48 and 64 bytes here, of which it uses no more than the 40 and 56 that bionic has.
static int (*real_pthread_mutex_init)(pthread_mutex_t *, const pthread_mutexattr_t *);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
    pthread_mutex_t whole;
    int status = real_pthread_mutex_init(&whole, attributes);
    memcpy(mutex, &whole, 40);
    return status;
}
static int (*real_pthread_attr_init)(pthread_attr_t *);
int pthread_attr_init(pthread_attr_t *attributes) {
    pthread_attr_t whole;
    int status = real_pthread_attr_init(&whole);
    memcpy(attributes, &whole, 56);
    return status;
}
#endif

// ---- long double: 128 bits there on every 64-bit ABI, 80 bits here on x86_64
#if defined(__x86_64__)
typedef long double quad;  // -mlong-double-128
quad strtold(const char *s, char **end) { return strtod(s, end); }
quad strtold_l(const char *s, char **end, locale_t l) { return strtod_l(s, end, l); }
quad wcstold(const wchar_t *s, wchar_t **end) { return wcstod(s, end); }
quad frexpl(quad x, int *e) { return frexp((double)x, e); }
quad ldexpl(quad x, int e) { return ldexp((double)x, e); }
long long llroundl(quad x) { return llround((double)x); }
#endif

// ---- names that glibc has not, or has for something else
int *__errno(void) { return &errno; }
static int (*real___xpg_strerror_r)(int, char *, size_t);
static char *(*real_strerror_r)(int, char *, size_t);
int posix_strerror_r(int, char *, size_t) __asm__("strerror_r");
int posix_strerror_r(int n, char *p, size_t size) { return real___xpg_strerror_r(n, p, size); }
char *__gnu_strerror_r(int n, char *p, size_t size) { return real_strerror_r(n, p, size); }
void __assert2(const char *file, int line, const char *function, const char *text) {
    fprintf(stderr, "%s:%d: %s: assertion \"%s\" failed\n", file, line, function, text);
    abort();
}
size_t __strlen_chk(const char *s, size_t size) { return strlen(s); }
char *__strchr_chk(const char *s, int c, size_t size) { return strchr(s, c); }
char *__strrchr_chk(const char *s, int c, size_t size) { return strrchr(s, c); }
ssize_t __write_chk(int fd, const void *p, size_t n, size_t size) { return write(fd, p, n); }
int __FD_ISSET_chk(int fd, const fd_set *set, size_t size) { return FD_ISSET(fd, set); }
void __FD_SET_chk(int fd, fd_set *set, size_t size) { FD_SET(fd, set); }
void android_set_abort_message(const char *text) { fprintf(stderr, "abort message: %s\n", text); }

static const char *const PROPERTIES[][2] = {
    {"ro.build.version.sdk", "35"}, {"ro.product.model", "virtual phone"}, {"ro.product.manufacturer", "mobilekit"},
};
int __system_property_get(const char *name, char *value) {
    for (size_t i = 0; i < sizeof PROPERTIES / sizeof *PROPERTIES; i++)
        if (!strcmp(name, PROPERTIES[i][0])) return strlen(strcpy(value, PROPERTIES[i][1]));
    *value = 0;
    return 0;
}

// ---- the log
int __android_log_write(int level, const char *tag, const char *text) {
    return fprintf(stderr, "%c/%s: %s\n", level < 9 ? "??VDIWEFS"[level] : '?', tag ? tag : "", text);
}
int __android_log_vprint(int level, const char *tag, const char *format, va_list rest) {
    char text[4096];
    vsnprintf(text, sizeof text, format, rest);
    return __android_log_write(level, tag, text);
}
int __android_log_print(int level, const char *tag, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    int n = __android_log_vprint(level, tag, format, rest);
    va_end(rest);
    return n;
}
void __android_log_assert(const char *condition, const char *tag, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    __android_log_vprint(7, tag, format ? format : condition, rest);
    abort();
}
void *__android_log_default_aborter;

// ---- memory: LiteRT 2.16.1 asks for 32 bytes' alignment and stores 64 at once where there is AVX-512, which its phones
// never have
#define MIN_ALIGNMENT 64
#define ALIGNMENT(asked) ((asked) > MIN_ALIGNMENT ? (asked) : MIN_ALIGNMENT)
static void *(*real_memalign)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
void *memalign(size_t alignment, size_t size) { return real_memalign(ALIGNMENT(alignment), size); }
int posix_memalign(void **p, size_t alignment, size_t size) {
    return real_posix_memalign(p, ALIGNMENT(alignment), size);
}

// ---- what is forwarded
extern const char *const forwarded_names[];
extern void *forwarded[];
extern const int forwarded_count;

static void *find(void *c, void *m, const char *name) {
    void *p = dlsym(c, name);
    return p ? p : dlsym(m, name);
}
#define REAL(name) real_##name = find(c, m, #name);
__attribute__((constructor)) static void link_shim(void) {
    void *c = dlopen("libc.so.6", RTLD_NOW), *m = dlopen("libm.so.6", RTLD_NOW);
    stdin = *(FILE **)dlsym(c, "stdin");
    stdout = *(FILE **)dlsym(c, "stdout");
    stderr = *(FILE **)dlsym(c, "stderr");
    REAL(fputc) REAL(fputs) REAL(ungetc) REAL(fputwc) REAL(ungetwc) REAL(getc) REAL(getwc) REAL(fflush) REAL(fclose)
    REAL(ferror) REAL(fileno) REAL(vfprintf) REAL(fwrite) REAL(setvbuf) REAL(sysconf) REAL(nftw)
#if defined(__aarch64__)
    REAL(pthread_mutex_init) REAL(pthread_attr_init)
#endif
    REAL(memalign) REAL(posix_memalign)
    REAL(__xpg_strerror_r) REAL(strerror_r)
    for (int i = 0; i < forwarded_count; i++) {
        forwarded[i] = find(c, m, forwarded_names[i]);
        if (!forwarded[i]) {
            fprintf(stderr, "bionic: this computer's glibc has no %s; `make native` again\n", forwarded_names[i]);
            abort();
        }
    }
}
