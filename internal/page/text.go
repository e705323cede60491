package page

// Text is the organisation's text on the pages, in Chinese and in English.
type Text struct{ Zh, En string }

// Both is one text for both languages.
func Both(s string) Text { return Text{s, s} }

// or fills a language that is missing with the other one.
func (t Text) or() Text {
	if t.Zh == "" {
		t.Zh = t.En
	}
	if t.En == "" {
		t.En = t.Zh
	}
	return t
}

// said is what the organisation says of itself in one language; empty fields are ours.
type said struct {
	title, mark string
	lead, note  string
	contact     contact
}

// texts are the texts of both languages. A name and a contact of one language are
// better than none in the other; of lead and note there is ours.
func (c Config) texts() map[string]said {
	title, contact := c.Title.or(), c.Contact.or()
	one := func(title, lead, note, contact string) said {
		s := said{
			title:   clean(title, 60),
			lead:    clean(lead, 200),
			note:    clean(note, 200),
			contact: parseContact(contact),
		}
		s.mark = firstLetter(s.title)
		return s
	}
	return map[string]said{"zh": one(title.Zh, c.Lead.Zh, c.Note.Zh, contact.Zh),
		"en": one(title.En, c.Lead.En, c.Note.En, contact.En)}
}
