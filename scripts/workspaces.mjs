// The folders of the npm workspaces, from the patterns in the root's package.json.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Every workspace as { folder, path, manifest }: absolute folder, path from the root, parsed package.json. */
export function workspaces(root) {
  const { workspaces: patterns } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const found = []
  for (const pattern of patterns) {
    const paths = pattern.endsWith('/*') ? children(root, pattern.slice(0, -2)) : [pattern]
    for (const path of paths) {
      const folder = join(root, path)
      const file = join(folder, 'package.json')
      if (existsSync(file)) found.push({ folder, path, manifest: JSON.parse(readFileSync(file, 'utf8')) })
    }
  }
  return found
}

function children(root, path) {
  const folder = join(root, path)
  return existsSync(folder)
    ? readdirSync(folder)
        .sort()
        .map((name) => `${path}/${name}`)
    : []
}
