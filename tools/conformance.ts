/** `npm run conformance -- NAME`: runs a suite that others wrote, from outside the repository, and records every case. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = resolve(import.meta.dirname, '../conformance')
const drivers = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && file !== 'record.ts').map((file) => file.replace(/\.ts$/, ''))
const [name = ''] = process.argv.slice(2)
const file = join(folder, `${name}.ts`)
if (!drivers.includes(name) || !existsSync(file)) {
  console.error(`npm run conformance -- NAME, where NAME is one of: ${drivers.join(', ') || '(none yet)'}`)
  process.exitCode = 1
} else {
  const driver: { run?: () => Promise<void> } = await import(pathToFileURL(file).href)
  if (driver.run === undefined) throw new Error(`conformance/${name}.ts exports no run()`)
  await driver.run()
}
