/** `npm run soak -- NAME [OPTIONS]`: the long runs, one file each in `tools/soak/`. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = resolve(import.meta.dirname, 'soak')
const names = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts')).map((file) => file.replace(/\.ts$/, ''))
const [name = '', ...options] = process.argv.slice(2)
const file = join(folder, `${name}.ts`)
if (!names.includes(name) || !existsSync(file)) {
  console.error(`npm run soak -- NAME, where NAME is one of: ${names.join(', ')}`)
  process.exitCode = 2
} else {
  const soak: { run?: (options: readonly string[]) => Promise<void> } = await import(pathToFileURL(file).href)
  if (soak.run === undefined) throw new Error(`tools/soak/${name}.ts exports no run()`)
  await soak.run(options)
}
