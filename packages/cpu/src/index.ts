/**
 * The vCPU contract, the architectural state of x86-64 in its saved form, and CPUID profiles.
 *
 * @packageDocumentation
 */
export * from './contract.ts'
export * from './cpu-profile.ts'
export * from './cpuid.ts'
export * from './cpuid-feature.ts'
export * from './platform-state.ts'
export * from './vcpu-state.ts'
