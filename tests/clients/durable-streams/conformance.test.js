// The suite of others, against the node that run.sh started.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({ baseUrl: process.env.HEADWATER_URL })
