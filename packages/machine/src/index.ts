export * from './boot/index.ts'
