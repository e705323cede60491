// Package manifesttest decodes the manifests of deploy with the types their
// projects publish; a module of its own, so that those stay out of dinggate's.
//
//	*.yaml, helm/dinggate rendered ─► kind ─► published type, unknown keys refused
package manifesttest
