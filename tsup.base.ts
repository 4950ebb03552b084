// How every package becomes JavaScript: ES modules only, own modules bundled, dependencies left as imports.
// Declarations come from `tsc -b` into the same dist folder, so cleaning spares them.
import { defineConfig } from 'tsup'

type Config = ReturnType<typeof defineConfig>

const clean = ['!**/*.d.ts', '!**/*.d.ts.map', '!**/*.tsbuildinfo']

/** A published package that runs in every host. */
export function library(entry: string[]): Config {
  return defineConfig({
    entry,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    outDir: 'dist',
    dts: false,
    sourcemap: true,
    clean,
  })
}

/** A private program for Node. */
export function application(entry: string[]): Config {
  return defineConfig({
    entry,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outDir: 'dist',
    dts: false,
    sourcemap: true,
    clean,
  })
}
