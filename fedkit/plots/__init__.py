"""Pictures of federated learning: each function returns a `matplotlib.figure.Figure` with one message, said by its title.

`fk.show(figure, alt)` puts one into a notebook. Colours are Okabe and Ito's, and colour is never the only sign.
"""

__all__: list[str] = []
