// Reads rows from stdin, one in JSON a line, and writes what came of each.
import { createInterface } from 'node:readline'
import { origin, run } from './client'

origin(process.argv[2])
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))))
