"""No domain: settings, clock, ids, text and transliteration, i18n, pdf and qr, messages."""
