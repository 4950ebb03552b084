/* Shared by every benchmark: time and one result line.
 * begin() prints "START" (so that whoever watches the console can take the
 * emulator's own CPU time at both ends); report() prints
 * "BENCH <name> <bits> <wall-seconds> <cpu-seconds> <checksum-hex>".
 * With BENCH_BARE a program needs no operating system, see bare.h. */
#ifndef BENCH_H
#define BENCH_H
#ifdef BENCH_BARE
#include "bare.h"
#else
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
static uint64_t bench_cpu0, bench_cpu;
static inline uint64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static inline uint64_t cpu_ns(void) {
	struct timespec t;
	struct rusage r;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	getrusage(RUSAGE_CHILDREN, &r);
	return ((uint64_t)t.tv_sec + (uint64_t)r.ru_utime.tv_sec + (uint64_t)r.ru_stime.tv_sec) * 1000000000ull +
	       (uint64_t)t.tv_nsec + ((uint64_t)r.ru_utime.tv_usec + (uint64_t)r.ru_stime.tv_usec) * 1000ull;
}
static inline uint64_t begin(void) {
	static const char s[] = "START\n";
	if (write(1, s, sizeof s - 1) < 0) exit(3);
	tcdrain(1);
	bench_cpu0 = cpu_ns();
	return now_ns();
}
static inline uint64_t since(uint64_t t) {
	t = now_ns() - t;
	bench_cpu = cpu_ns() - bench_cpu0;
	return t;
}
static inline void report(const char *name, uint64_t ns, uint32_t sum) {
	printf("BENCH %s %d %u.%06u %u.%06u %08x\n", name, (int)sizeof(void *) * 8,
	       (unsigned)(ns / 1000000000ull), (unsigned)(ns % 1000000000ull / 1000),
	       (unsigned)(bench_cpu / 1000000000ull), (unsigned)(bench_cpu % 1000000000ull / 1000), sum);
	fflush(stdout);
}
static inline long arg(int argc, char **argv, int i, long dflt) {
	return argc > i ? atol(argv[i]) : dflt;
}
#endif
#define NOINLINE __attribute__((noinline))
static inline uint32_t xs32(uint32_t *s) {
	uint32_t x = *s;
	x ^= x << 13; x ^= x >> 17; x ^= x << 5;
	return *s = x;
}
#endif
