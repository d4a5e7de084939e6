"""Figures for people: tables, charts, pages."""
