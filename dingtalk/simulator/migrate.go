package simulator

import "fmt"

const (
	migratedPath = "/v1.0/contact/orgAccount/getMigrationUnionIdByUnionIds"
	originalPath = "/v1.0/contact/orgAccount/getUnionIdByMigrationUnionIds"
)

// Migrate makes an enterprise account of a person's ordinary account (普通账号迁移为企业账号):
// the same person and userid under another unionId, "" = a made-up one. It emits no event:
// whether DingTalk sends one is not known.
func (p *Platform) Migrate(id, unionID string) error {
	defer p.lock()()
	who := p.org.person(id)
	if who == nil {
		return fmt.Errorf("simulator: migrating %q: nobody is called so", id)
	}
	if unionID == "" {
		unionID = "m" + digest("migrated", who.UnionID) + "iEiE"
	}
	if p.org.personByUnionID(unionID) != nil {
		return fmt.Errorf("simulator: migrating %q: another person has this unionid", id)
	}
	if p.org.migrated == nil {
		p.org.migrated = map[string]string{}
	}
	p.org.migrated[who.UnionID] = unionID
	who.UnionID, who.Enterprise = unionID, true
	return nil
}

// migrations answers the lookup of migrated accounts in one direction. The documentation
// shows a map and does not specify whether it is at the top level or below its name.
func migrations(parameter string, old bool) func(*Platform, *call) (any, *apiError) {
	return func(p *Platform, c *call) (any, *apiError) {
		const point = "Contact.OrgAccountMigration.Read"
		if !c.app.hasPermission(point) {
			return nil, deniedPermission(c.app, point)
		}
		id := c.r.URL.Query().Get(parameter)
		if id == "" {
			return nil, apiErrorFor("invalid.param")
		}
		list, known := map[string]string{}, p.org.personByUnionID(id) != nil
		for before, after := range p.org.migrated {
			if old && before == id || !old && after == id {
				list[before], known = after, true
			}
		}
		if !known {
			return nil, apiErrorFor("invalid.unionId")
		}
		return map[string]any{"migrationUnionIdList": list}, nil
	}
}
