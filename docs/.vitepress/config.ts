import { existsSync, readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'

// Written by typedoc just before the site is built.
const sidebarFile = new URL('../api/typedoc-sidebar.json', import.meta.url)
const api = existsSync(sidebarFile) ? JSON.parse(readFileSync(sidebarFile, 'utf8')) : []

export default defineConfig({
  title: 'Trapframe',
  description: 'Composable hypervisor libraries in TypeScript',
  base: process.env.DOCS_BASE ?? '/',
  themeConfig: {
    nav: [
      { text: 'Guide', link: '/guide/first-vm' },
      { text: 'Design', link: '/design/' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: {
      '/guide/': [
        {
          text: 'Guide',
          items: [
            { text: 'Your first VM', link: '/guide/first-vm' },
            { text: 'In a browser', link: '/guide/browser' },
          ],
        },
      ],
      '/design/': [
        {
          text: 'Design',
          items: [
            { text: 'Overview', link: '/design/' },
            { text: 'Instructions', link: '/design/instructions' },
            { text: 'Interpreter', link: '/design/interpreter' },
            { text: 'Flags', link: '/design/flags' },
            { text: 'Software TLB', link: '/design/software-tlb' },
            { text: 'Modes', link: '/design/modes' },
            { text: 'Code cache', link: '/design/code-cache' },
            { text: 'Exits', link: '/design/exits' },
            { text: 'Time', link: '/design/time' },
            { text: 'Proof', link: '/design/proof' },
            { text: 'Table of instructions', link: '/design/instructions-table' },
          ],
        },
      ],
      '/api/': api,
    },
    search: { provider: 'local' },
    outline: [2, 3],
  },
})
