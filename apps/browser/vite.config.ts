import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** Packages are bundled from their sources: the condition is the first one of every exports map in this repository. */
const conditions = ['trapframe-source', 'module', 'browser', 'development|production']

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Relative, so that the built page works in any folder of any server.
  base: './',
  resolve: { conditions },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    outDir: 'dist/page',
    emptyOutDir: true,
    // The engine is data in base64; there is nothing to be split off.
    chunkSizeWarningLimit: 4096,
    reportCompressedSize: false,
  },
})
