// Package manifesttest decodes the manifests in deploy with the types that their projects
// publish. It is a separate module, so that dinggate does not depend on them.
//
//	*.yaml, helm/dinggate rendered ─► kind ─► published type, unknown keys refused
package manifesttest
