import { defineConfig } from 'vitest/config'

// Packages are tested from their sources: the condition is the first one of every exports map in this repository.
const conditions = ['trapframe-source', 'module', 'node', 'development|production']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['{packages,apps,bench,docs,guests}/**/test/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    testTimeout: 60_000,
  },
})
