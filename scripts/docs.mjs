// npm run docs: the API reference from every package's doc comments, the site around it, and a check of all links.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { root, setUp } from './set-up.mjs'

const site = join(root, 'docs', '.vitepress', 'dist')

setUp()
run('typedoc', ['--options', 'docs/typedoc.json'])
run('vitepress', ['build', 'docs'])
checkLinks()

function run(command, args) {
  const result = spawnSync(join(root, 'node_modules', '.bin', command), args, { cwd: root, stdio: 'inherit' })
  if (result.status !== 0) process.exit(result.status ?? 1)
}

/** Every internal link and fragment of the built pages leads somewhere. Other sites are not asked. */
function checkLinks() {
  const base = process.env.DOCS_BASE ?? '/'
  const pages = readdirSync(site, { recursive: true }).filter((name) => name.endsWith('.html'))
  const text = new Map(pages.map((name) => [join(site, name), readFileSync(join(site, name), 'utf8')]))
  const ids = new Map()
  const broken = new Set()
  let count = 0
  for (const [page, html] of text) {
    for (const [, attribute] of html.matchAll(/<[^>]*\s(?:href|src)="([^"]*)"/g)) {
      const link = attribute.replaceAll('&amp;', '&')
      if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(link)) continue
      count++
      const [path, fragment] = link.split('#')
      const target = path === '' ? page : locate(page, path.split('?')[0])
      const reason = !target
        ? 'no such page'
        : fragment && !hasId(target, decodeURIComponent(fragment))
          ? 'no such heading'
          : ''
      if (reason) broken.add(`${relative(site, page)}: ${link}: ${reason}`)
    }
  }
  for (const line of broken) console.error(line)
  console.log(`docs: ${pages.length} pages, ${count} internal links, ${broken.size} broken`)
  if (broken.size > 0) process.exitCode = 1

  function locate(page, path) {
    const plain = decodeURIComponent(path)
    const start = plain.startsWith('/')
      ? join(site, plain.slice(base.length - 1))
      : join(dirname(page), plain)
    return [start, `${start}.html`, join(start, 'index.html')].find(
      (name) => existsSync(name) && !name.endsWith('/'),
    )
  }

  function hasId(target, id) {
    if (!target.endsWith('.html')) return false
    if (!ids.has(target))
      ids.set(target, new Set([...text.get(target).matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id)))
    return ids.get(target).has(id)
  }
}
